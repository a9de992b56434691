package file

import (
	"context"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// CreateOptions say what file to make (BlockdevCreateOptionsFile).
type CreateOptions struct {
	Filename       string    `qmp:"filename"`
	Size           qmp.Size  `qmp:"size"`
	Preallocation  *Prealloc `qmp:"preallocation"`
	NoCOW          *bool     `qmp:"nocow"`
	ExtentSizeHint *qmp.Size `qmp:"extent-size-hint"`
}

// Prealloc is how much is allocated.
type Prealloc string

// EnumValues implements qmp.Enum.
func (Prealloc) EnumValues() []string { return []string{"off", "metadata", "falloc", "full"} }

var createKeys = []block.CreateKey{
	{Name: "size", Type: "size", Help: "Virtual disk size"},
	{Name: "preallocation", Type: "string", Help: "Preallocation mode (allowed values: off, falloc, full)", Default: "off"},
	{Name: "nocow", Type: "bool", Help: "Turn off copy-on-write (valid only on btrfs)"},
}

// create makes a file, or empties one that nobody else uses.
func create(ctx context.Context, g *block.Graph, opts any) error {
	o := opts.(*CreateOptions)
	p := block.PreallocOff
	if o.Preallocation != nil {
		p, _ = block.ParsePrealloc(string(*o.Preallocation)) // its values have been checked
	}
	fd, err := g.OpenFD(o.Filename, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return ioError("Could not create '"+o.Filename+"'", err)
	}
	defer func() { _ = g.CloseFD(fd) }()
	var l locker
	if err := l.init(&Options{Filename: o.Filename}, fd); err != nil {
		return err
	}
	// Nobody may see the file change under his hands.
	if err := l.check(block.PermWrite|block.PermResize, block.PermAll&^(block.PermRead|block.PermWrite|block.PermResize)); err != nil {
		return err
	}
	l.commit()
	defer l.release()
	if err := unix.Ftruncate(fd, 0); err != nil {
		return ioError("Could not empty '"+o.Filename+"'", err)
	}
	if o.NoCOW != nil && *o.NoCOW {
		setNoCOW(fd)
	}
	return preallocate(ctx, fd, 0, int64(o.Size), p)
}

// setNoCOW is for btrfs; other file systems do not have the flag.
func setNoCOW(fd int) {
	const noCOW = 0x00800000 // FS_NOCOW_FL
	if attr, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, attr|noCOW)
	}
}
