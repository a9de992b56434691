package pci

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"

	"govmd/internal/memory"
)

const (
	romSizeAuto = 0xffffffff
	romSizeMax  = 2 << 30
	romSizeLow  = 4096 // what a ROM's size is rounded up to at least
)

// loadROM reads the file of property romfile and shows it in the ROM's BAR.
// With rombar=0 the function has none.
func (d *Device) loadROM() error {
	if d.romFile == "" || d.romBAR == 0 {
		return nil
	}
	f, err := os.Open(d.romFile)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("failed to find romfile \"%s\"", d.romFile)
	}
	if err != nil {
		return fmt.Errorf("romfile: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("romfile: %w", err)
	}
	n := info.Size()
	switch {
	case n == 0 || !info.Mode().IsRegular():
		return fmt.Errorf("romfile \"%s\" is empty", d.romFile)
	case n > romSizeMax:
		return fmt.Errorf("romfile \"%s\" too large (size cannot exceed 2 GiB)", d.romFile)
	}
	size := uint64(1) << bits.Len64(uint64(n-1))
	if d.romSize != romSizeAuto {
		size = uint64(d.romSize)
		switch {
		case bits.OnesCount64(size) != 1:
			return fmt.Errorf("ROM size %d is not a power of two", size)
		case uint64(n) > size:
			return fmt.Errorf("romfile \"%s\" (%d bytes) is too large for ROM size %d", d.romFile, n, size)
		}
	}
	size = max(size, romSizeLow)
	block, err := d.Env().Memory.NewBlock(memory.BlockConfig{Name: d.Path() + "/rom", Size: size})
	if err != nil {
		return fmt.Errorf("romfile \"%s\": %w", d.romFile, err)
	}
	d.Defer(func() { _ = block.Close() }) // nothing maps it any more
	if err := fill(block, f, n); err != nil {
		return fmt.Errorf("romfile \"%s\": %w", d.romFile, err)
	}
	d.setROM(d.Env().Memory.NewROM(d.TypeName()+".rom", block, 0, size))
	return nil
}

func fill(b *memory.Block, r io.Reader, n int64) error {
	buf := make([]byte, 64<<10)
	for off := int64(0); off < n; {
		k := min(int64(len(buf)), n-off)
		if _, err := io.ReadFull(r, buf[:k]); err != nil {
			return err
		}
		if err := b.Write(uint64(off), buf[:k]); err != nil {
			return err
		}
		off += k
	}
	return nil
}

// setROM makes r the function's expansion ROM.
func (d *Device) setROM(r *memory.Region) {
	d.addBAR(romBAR, bar{region: r, rom: true, reg: d.romReg(), size: r.Size()})
}
