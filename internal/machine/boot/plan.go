package boot

import (
	"errors"
	"fmt"
	"io"
)

// Segment is a piece of guest memory that a plan fills: Data, or FileSize bytes
// of File from Offset on, or what Fill puts there, and then zeros up to Size.
type Segment struct {
	Name string // for messages: "kernel image 'x'"
	Addr uint64
	Size uint64

	Data []byte

	File             io.ReaderAt
	Offset, FileSize int64

	// Fill is called each time: for what has to be new at every start.
	Fill func(b []byte) error
}

// Plan is what has to be in memory when a guest starts, and how it starts.
type Plan struct {
	Segments []Segment
	// Entry is nil if the plan only puts something into memory.
	Entry *Entry
	// PC, if not nil, is what the instruction pointer of processor CPU is set to
	// after its reset, all else being left as it is.
	PC  *uint64
	CPU int
}

// Memory is what a plan is executed on: guest-physical addresses.
type Memory interface {
	WriteAt(p []byte, addr int64) (int, error)
}

// FileLoader is implemented by memory that can read from a file without a
// buffer between.
type FileLoader interface {
	LoadFile(addr uint64, file io.ReaderAt, offset, size int64) error
}

// Load executes the plan. With fresh, memory is known to be all zeros where no
// segment has been yet, and zeros are not written.
func (p *Plan) Load(mem Memory, fresh bool) error {
	var buf []byte
	for i := range p.Segments {
		s := &p.Segments[i]
		if err := s.load(mem, fresh, &buf); err != nil {
			return err
		}
	}
	return nil
}

const copySize = 256 << 10

func (s *Segment) load(mem Memory, fresh bool, buf *[]byte) error {
	var done uint64
	switch {
	case s.Fill != nil:
		b := make([]byte, s.Size)
		if err := s.Fill(b); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if err := s.write(mem, b, 0); err != nil {
			return err
		}
		done = s.Size
	case s.File != nil:
		if err := s.loadFile(mem, buf); err != nil {
			return err
		}
		done = uint64(s.FileSize)
	default:
		if err := s.write(mem, s.Data, 0); err != nil {
			return err
		}
		done = uint64(len(s.Data))
	}
	if fresh || done >= s.Size {
		return nil
	}
	zeros := make([]byte, min(copySize, s.Size-done))
	for done < s.Size {
		n := min(uint64(len(zeros)), s.Size-done)
		if err := s.write(mem, zeros[:n], done); err != nil {
			return err
		}
		done += n
	}
	return nil
}

func (s *Segment) write(mem Memory, b []byte, at uint64) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := mem.WriteAt(b, int64(s.Addr+at)); err != nil {
		return fmt.Errorf("%s does not fit in memory at %#x: %w", s.Name, s.Addr+at, err)
	}
	return nil
}

func (s *Segment) loadFile(mem Memory, buf *[]byte) error {
	if l, ok := mem.(FileLoader); ok {
		if err := l.LoadFile(s.Addr, s.File, s.Offset, s.FileSize); err != nil {
			return s.readError(err)
		}
		return nil
	}
	if *buf == nil {
		*buf = make([]byte, copySize)
	}
	for at := int64(0); at < s.FileSize; {
		b := (*buf)[:min(copySize, s.FileSize-at)]
		if err := readFull(s.File, b, s.Offset+at); err != nil {
			return s.readError(err)
		}
		if err := s.write(mem, b, uint64(at)); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

func (s *Segment) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s has become shorter since it was opened", s.Name)
	}
	return fmt.Errorf("could not read %s: %w", s.Name, err)
}

// readFull fills b from offset on.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}
