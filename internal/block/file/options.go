// Package file is the protocol at the bottom of most graphs: files and block
// devices of the host.
package file

import (
	"strings"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// Options are the options of the drivers file, host_device and host_cdrom.
type Options struct {
	Filename    string     `qmp:"filename"`
	Locking     *OnOffAuto `qmp:"locking"`
	AIO         *AIO       `qmp:"aio"`
	AIOMaxBatch *int64     `qmp:"aio-max-batch"`
	DropCache   *bool      `qmp:"drop-cache"`
}

// OnOffAuto is on, off or auto.
type OnOffAuto string

// EnumValues implements qmp.Enum.
func (OnOffAuto) EnumValues() []string { return []string{"auto", "on", "off"} }

// AIO is how reads and writes are handed to the kernel.
type AIO string

// The ways.
const (
	Threads AIO = "threads"  // preadv and pwritev, on the goroutine of the request
	Native  AIO = "native"   // Linux AIO, for O_DIRECT
	IOUring AIO = "io_uring" // io_uring
)

// EnumValues implements qmp.Enum.
func (AIO) EnumValues() []string { return []string{"threads", "native", "io_uring"} }

// kind is what sort of file a driver is for.
type kind uint8

const (
	regular kind = iota
	device
	cdrom
)

var kindNames = [...]string{"file", "host_device", "host_cdrom"}

func init() {
	for k, name := range kindNames {
		k := kind(k)
		t := &block.Type{
			Name: name, Protocol: true, Prefixes: []string{name}, StripPrefix: true,
			Open: func(a *block.OpenArgs) (block.Driver, error) { return open(a, k) },
		}
		if k != regular {
			t.HostDevice = func(name string) int { return deviceScore(k, name) }
		} else {
			t.Create = create
			t.CreateKeys = createKeys
		}
		block.Register[Options](t)
	}
	block.RegisterCreate[CreateOptions]("file")
}

// deviceScore says how well a driver fits a name without a prefix.
func deviceScore(k kind, name string) int {
	if strings.HasPrefix(name, "/dev/fdset/") {
		return 0
	}
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0
	}
	isCD := unix.Major(st.Rdev) == 11 || strings.HasPrefix(name, "/dev/cdrom")
	switch {
	case k == device:
		return 50
	case k == cdrom && isCD:
		return 100
	}
	return 0
}

func (o *Options) locking() OnOffAuto {
	if o.Locking != nil {
		return *o.Locking
	}
	return "auto"
}

func (o *Options) aio() AIO {
	if o.AIO != nil {
		return *o.AIO
	}
	return Threads
}

func openError(name string, err error) error {
	return ioError("Could not open '"+name+"'", err)
}

// ioError is what says that the host has refused something.
func ioError(what string, err error) error {
	return &block.Error{Kind: block.KindIO, Text: what + ": " + block.ErrorText(err), Err: err}
}
