package devtest

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"govmd/internal/block"
	_ "govmd/internal/block/drivers" // what drives are made of
	"govmd/internal/device"
	"govmd/internal/qmp"
)

// AddDrive makes a drive of that name with a raw image of size bytes, in a file
// whose name it returns.
func (m *Machine) AddDrive(name string, size int64, set block.Settings) (file string) {
	m.TB.Helper()
	file = filepath.Join(m.TB.TempDir(), "disk")
	err := os.WriteFile(file, nil, 0o600)
	if err == nil {
		err = os.Truncate(file, size)
	}
	if err != nil {
		m.TB.Fatal(err)
	}
	opts := &qmp.Object{}
	opts.Add("driver", "raw")
	m.AddImage(name, file, opts, set)
	return file
}

// AddImage makes a drive of that name with an image that opts describe.
func (m *Machine) AddImage(name, file string, opts *qmp.Object, set block.Settings) {
	m.TB.Helper()
	g := m.Env.Blocks
	n, err := g.OpenImage(context.Background(), file, opts, qmp.JSON, set)
	if err != nil {
		m.TB.Fatal(err)
	}
	defer n.Unref() // the drive has its own
	b, err := g.NewBackend(name)
	if err == nil {
		err = b.InsertMedium(n)
	}
	if err != nil {
		m.TB.Fatal(err)
	}
}

// closeDrives ends all drives, and before them the devices that use them.
func (m *Machine) closeDrives() {
	for _, d := range slices.Backward(m.Env.Roots()) {
		device.Unplug(d)
	}
	for _, b := range m.Env.Blocks.Backends() {
		b.Close()
	}
	for _, n := range m.Env.Blocks.CloseAll() {
		m.TB.Errorf("node '%s' is still in use at the end", n)
	}
}
