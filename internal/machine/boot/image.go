package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Image is a file to load: what it is called in messages, its content and how
// many bytes of that there are.
type Image struct {
	What string // "kernel image", "initrd"
	Name string
	io.ReaderAt
	Size int64
}

// String names the image in messages.
func (i *Image) String() string { return fmt.Sprintf("%s '%s'", i.What, i.Name) }

// File is an open regular file: *os.File.
type File interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

// NewImage makes an image of an open file, which has to stay open as long as
// the machine may be reset.
func NewImage(what, name string, f File) (*Image, error) {
	i := &Image{What: what, Name: name, ReaderAt: f}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("could not open %s: %w", i, reason(err))
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", i)
	}
	i.Size = st.Size()
	return i, nil
}

// OpenImage opens a file as an image. The file is closed by the caller's Close.
func OpenImage(what, name string) (*Image, io.Closer, error) {
	// A pipe would hold up the opening until somebody writes to it.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("could not open %s '%s': %w", what, name, reason(err))
	}
	i, err := NewImage(what, name, f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return i, f, nil
}

// ReadFile returns the content of a regular file of no more than limit bytes.
func ReadFile(what, name string, limit int64) ([]byte, error) {
	i, f, err := OpenImage(what, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if i.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that there is room for", i, i.Size, limit)
	}
	return i.read(0, int(i.Size))
}

// reason takes the file's name out of an error that already says it.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// read returns n bytes at offset, which the caller has checked to be a small
// number. A short file is an error that says so.
func (i *Image) read(offset int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if offset < 0 || offset+int64(n) > i.Size {
		return nil, i.short(uint64(offset) + uint64(n))
	}
	if err := readFull(i, b, offset); err != nil {
		return nil, fmt.Errorf("could not read %s: %w", i, reason(err))
	}
	return b, nil
}

func (i *Image) short(need uint64) error {
	return fmt.Errorf("%s is cut short: it has %d bytes and needs at least %d", i, i.Size, need)
}

func (i *Image) bad(format string, args ...any) error {
	return fmt.Errorf("%s: %s", i, fmt.Sprintf(format, args...))
}

// segment is a part of the file at an address.
func (i *Image) segment(addr uint64, offset, size int64) Segment {
	return Segment{Name: i.String(), Addr: addr, Size: uint64(size), File: i.ReaderAt, Offset: offset, FileSize: size}
}
