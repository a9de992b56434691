package fwcfg

import (
	"encoding/binary"
	"math/bits"
)

// dmaSignature is what the DMA register reads as: "QEMU CFG", big-endian.
const dmaSignature = 0x51454d5520434647

// A command is a big-endian structure in guest memory: control, length, address.
const dmaCommandSize = 16

// Control bits; the upper half is the key that dmaSelect selects.
const (
	dmaError  = 1 << 0
	dmaRead   = 1 << 1
	dmaSkip   = 1 << 2
	dmaSelect = 1 << 3
	dmaWrite  = 1 << 4
)

// dmaPorts is the DMA register: the big-endian address of a command, which runs
// when the lower half is written.
type dmaPorts Device

// ReadIO implements memory.Handler.
func (p *dmaPorts) ReadIO(off uint64, size int) uint64 {
	// In the order of bytes that a little-endian guest sees.
	return bits.ReverseBytes64(dmaSignature) >> (8 * off) & (1<<(8*uint(size)) - 1)
}

// WriteIO implements memory.Handler.
func (p *dmaPorts) WriteIO(off uint64, size int, v uint64) {
	d := (*Device)(p)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case size == 8 && off == 0:
		d.dmaAddr = bits.ReverseBytes64(v)
	case size == 4 && off == 0:
		d.dmaAddr = uint64(bits.ReverseBytes32(uint32(v))) << 32
		return
	case size == 4 && off == 4:
		d.dmaAddr |= uint64(bits.ReverseBytes32(uint32(v)))
	default:
		return
	}
	addr := d.dmaAddr
	d.dmaAddr = 0
	d.command(addr)
}

// command runs the command at a guest address and reports there how it went.
func (d *Device) command(at uint64) {
	cmd := d.cmd[:]
	status := uint32(dmaError)
	if err := d.mem.Read(at, cmd); err != nil {
		d.GuestErrorf("DMA command: %v", err)
	} else {
		control, length, addr := binary.BigEndian.Uint32(cmd), binary.BigEndian.Uint32(cmd[4:]), binary.BigEndian.Uint64(cmd[8:])
		traceDMA.Emit(control, addr)
		if d.transfer(control, length, addr) {
			status = 0
		}
	}
	binary.BigEndian.PutUint32(cmd, status)
	if err := d.mem.Write(at, cmd[:4]); err != nil {
		d.GuestErrorf("DMA command: %v", err)
	}
}

// transfer does what a command says and reports whether it could.
func (d *Device) transfer(control, length uint32, addr uint64) bool {
	if control&dmaSelect != 0 {
		d.selectKey(uint16(control >> 16))
	}
	n := int(length)
	rest := d.rest()
	switch {
	case control&dmaRead != 0:
		rest = rest[:min(n, len(rest))]
		if err := d.mem.Write(addr, rest); err != nil {
			d.GuestErrorf("DMA read: %v", err)
			return false
		}
		d.offset += len(rest)
		return d.zero(addr+uint64(len(rest)), n-len(rest))
	case control&dmaWrite != 0:
		if n == 0 {
			return true
		}
		if d.current == nil || d.current.written == nil || n > len(rest) {
			d.GuestErrorf("DMA write of %d bytes to item %#x, which does not take it", n, d.selected)
			return false
		}
		if err := d.mem.Read(addr, rest[:n]); err != nil {
			d.GuestErrorf("DMA write: %v", err)
			return false
		}
		off := d.offset
		d.offset += n
		d.current.written(off, n)
	case control&dmaSkip != 0:
		d.offset += min(n, len(rest))
	}
	return true
}

var zeros [64 << 10]byte

// zero fills guest memory past the end of an item.
func (d *Device) zero(addr uint64, n int) bool {
	for n > 0 {
		chunk := zeros[:min(n, len(zeros))]
		if err := d.mem.Write(addr, chunk); err != nil {
			d.GuestErrorf("DMA read: %v", err)
			return false
		}
		addr += uint64(len(chunk))
		n -= len(chunk)
	}
	return true
}
