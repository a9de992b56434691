// Package drivetest gives devtest machines drives whose images are in memory.
package drivetest

import (
	"context"
	"fmt"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/block/blkdebug"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/raw" // blkdebug's and the drives' format
	"govmd/internal/device/devtest"
)

var serial atomic.Int64

// Drive is a drive of a machine.
type Drive struct {
	*block.Backend
	Image *blocktest.Mem // nil for one that is empty
	m     *devtest.Machine
}

// Settle waits until no request is under way.
func Settle(m *devtest.Machine) {
	for _, b := range m.Env.Blocks.Backends() {
		if err := b.Wait(context.Background()); err != nil {
			m.TB.Error(err)
		}
	}
}

// New adds a drive of that name with the image data; nil data leave it empty.
func New(m *devtest.Machine, name string, data []byte) *Drive {
	m.TB.Helper()
	d := &Drive{m: m}
	m.Do(func() {
		b, err := m.Env.Blocks.NewBackend(name)
		if err != nil {
			m.TB.Error(err)
			return
		}
		d.Backend = b
		m.AddSettler(func() { _ = b.Wait(context.Background()) }) // it cannot end early
	})
	if m.TB.Failed() {
		m.TB.FailNow()
	}
	if data != nil {
		d.Insert(data)
	}
	return d
}

// Insert puts an image with these contents into the drive, which is empty.
func (d *Drive) Insert(data []byte) {
	d.m.TB.Helper()
	n, image := Open(d.m, data)
	d.Image = image
	d.m.Do(func() {
		if err := d.InsertMedium(n); err != nil {
			d.m.TB.Error(err)
		}
		n.Unref()
	})
}

// Eject takes the image out.
func (d *Drive) Eject() { d.m.Do(d.RemoveMedium) }

// Open opens an image that is kept in memory.
func Open(m *devtest.Machine, data []byte) (*block.Node, *blocktest.Mem) {
	m.TB.Helper()
	id := fmt.Sprintf("mem%d", serial.Add(1))
	image, remove := blocktest.NewMem(id)
	m.TB.Cleanup(remove)
	image.SetBytes(data)
	var n *block.Node
	m.Do(func() {
		var err error
		n, err = m.Env.Blocks.Open(context.Background(), &block.Options{Driver: "mem", Branch: &blocktest.Options{ID: id}}, block.Settings{})
		if err != nil {
			m.TB.Error(err)
		}
	})
	if n == nil {
		m.TB.FailNow()
	}
	return n, image
}

// Pattern is n bytes, of which each 512 begin with their number.
func Pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>9) ^ byte(i*7)
		if i&511 < 4 {
			p[i] = byte((i >> 9) >> (8 * (i & 3)))
		}
	}
	return p
}

// InsertFailing is Insert with requests that fail as the rules say.
func (d *Drive) InsertFailing(data []byte, rules ...blkdebug.InjectError) {
	d.m.TB.Helper()
	n, image := Open(d.m, data)
	d.Image = image
	d.m.Do(func() {
		defer n.Unref()
		f, err := d.m.Env.Blocks.Open(context.Background(), &block.Options{
			Driver: "blkdebug", Branch: &blkdebug.Options{Image: block.NodeRef(n.Name()), InjectError: rules},
		}, block.Settings{})
		if err != nil {
			d.m.TB.Error(err)
			return
		}
		defer f.Unref()
		if err := d.InsertMedium(f); err != nil {
			d.m.TB.Error(err)
		}
	})
}

// FailOnce has the first request of a kind fail with that error number.
func FailOnce(kind string, errno int) blkdebug.InjectError {
	t, once := blkdebug.IOType(kind), true
	return blkdebug.InjectError{Event: "none", IOType: &t, Errno: &errno, Once: &once}
}
