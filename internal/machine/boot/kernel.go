package boot

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// Kernel is a kernel to start directly, and what it is given.
type Kernel struct {
	Image   *Image
	Initrd  *Image // nil for none
	Cmdline string

	// Memory is the machine's map; kernel and initrd are put into its RAM.
	Memory MemoryMap
	// RSDP is the address of the ACPI root pointer, 0 for none.
	RSDP uint64
	// VGA says that there is a display in text mode.
	VGA bool
	// Seed fills b with random bytes. Nil is crypto/rand.
	Seed func(b []byte) error

	free MemoryMap // RAM not yet taken
}

// Limits of what a memory map may be, so that what is made of it fits.
const maxMemoryRanges = 512

const (
	elfMagic  = "\x7fELF"
	pageSize  = 4096
	initrdMax = fourGiB
)

// Plan decides how the kernel is started and where everything goes. It takes
// the shortest way that the image offers: an ELF image is entered by the PVH
// protocol, a bzImage at its 64-bit entry point.
func (k Kernel) Plan() (*Plan, error) {
	if i := strings.IndexByte(k.Cmdline, 0); i >= 0 {
		return nil, fmt.Errorf("kernel command line has a zero byte at position %d", i)
	}
	if len(k.Memory) > maxMemoryRanges {
		return nil, fmt.Errorf("memory map of %d ranges: at most %d", len(k.Memory), maxMemoryRanges)
	}
	k.free = append(MemoryMap(nil), k.Memory...)
	// Page 0 is left alone: the BIOS data area.
	if err := k.claim("start-up data", gdtAddr, lowAreaEnd-gdtAddr); err != nil {
		return nil, err
	}
	head, err := k.Image.read(0, int(min(k.Image.Size, hdrEnd)))
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(string(head), elfMagic):
		return k.planPVH()
	case isBzImage(head):
		return k.planBzImage()
	case len(head) < hdrMagic+4:
		return nil, k.Image.short(hdrMagic + 4)
	default:
		return nil, k.Image.bad("neither a bzImage nor an ELF image")
	}
}

// claim takes a range out of the free RAM.
func (k *Kernel) claim(what string, addr, size uint64) error {
	if !k.free.contains(addr, size) {
		if k.Memory.contains(addr, size) {
			return fmt.Errorf("%s needs memory at %#x-%#x, which is in use", what, addr, addr+size-1)
		}
		return fmt.Errorf("%s does not fit in RAM: it needs memory up to %d MiB (%#x-%#x), there are %d MiB",
			what, (addr+size+oneMiB-1)/oneMiB, addr, addr+size-1, k.Memory.ram()/oneMiB)
	}
	k.free.clear(addr, size)
	return nil
}

// topIfNeeded is the end of all memory if the initrd does not fit below limit.
func (k *Kernel) topIfNeeded(limit uint64) uint64 {
	if k.Initrd == nil {
		return limit
	}
	if _, ok := k.free.highest(uint64(k.Initrd.Size), pageSize, limit); ok || len(k.free) == 0 {
		return limit
	}
	return k.free[len(k.free)-1].end()
}

// placeInitrd puts the initrd as high as possible below limit, out of the way
// of a kernel that unpacks itself. It is one segment, or none.
func (k *Kernel) placeInitrd(limit uint64) ([]Segment, error) {
	if k.Initrd == nil {
		return nil, nil
	}
	if k.Initrd.Size == 0 {
		return nil, k.Initrd.bad("is empty")
	}
	size := uint64(k.Initrd.Size)
	addr, ok := k.free.highest(size, pageSize, limit)
	if !ok {
		return nil, fmt.Errorf("%s (%d bytes) does not fit in RAM beside %s: there are %d MiB, of which addresses below %#x can be used",
			k.Initrd, size, k.Image, k.Memory.ram()/oneMiB, limit)
	}
	k.free.clear(addr, size)
	return []Segment{k.Initrd.segment(addr, 0, k.Initrd.Size)}, nil
}

// common are the segments that both protocols need.
func (k *Kernel) common(long bool) []Segment {
	cmdline := append([]byte(k.Cmdline), 0)
	table := gdt(long)
	return []Segment{
		{Name: "GDT", Addr: gdtAddr, Size: uint64(len(table)), Data: table},
		{Name: "kernel command line", Addr: cmdlineAddr, Size: uint64(len(cmdline)), Data: cmdline},
	}
}

func (k *Kernel) seed(b []byte) error {
	if k.Seed != nil {
		return k.Seed(b)
	}
	_, err := rand.Read(b)
	return err
}
