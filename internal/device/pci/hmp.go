package pci

import (
	"fmt"
	"io"

	"govmd/internal/device"
)

// Print shows what Info returns, as `info pci` does.
func (b *BusInfo) Print(w io.Writer) { printFunctions(w, b.Devices) }

func printFunctions(w io.Writer, list []FunctionInfo) {
	for i := range list {
		f := &list[i]
		f.print(w)
		if f.Bridge != nil {
			printFunctions(w, f.Bridge.Devices)
		}
	}
}

func (f *FunctionInfo) print(w io.Writer) {
	fmt.Fprintf(w, "  Bus %2d, device %3d, function %d:\n", f.Bus, f.Slot, f.Function)
	fmt.Fprintf(w, "    %s: PCI device %04x:%04x\n", f.Class.text(), f.ID.Vendor, f.ID.Device)
	if f.ID.SubsystemVendor != nil && f.ID.Subsystem != nil {
		fmt.Fprintf(w, "      PCI subsystem %04x:%04x\n", *f.ID.SubsystemVendor, *f.ID.Subsystem)
	}
	if f.IRQ != nil {
		fmt.Fprintf(w, "      IRQ %d, pin %c\n", *f.IRQ, 'A'+rune(f.IRQPin-1)%4)
	}
	if f.Bridge != nil {
		f.Bridge.Bus.print(w)
	}
	for i := range f.Regions {
		f.Regions[i].print(w)
	}
	fmt.Fprintf(w, "      id \"%s\"\n", f.QdevID)
}

func (c *ClassInfo) text() string {
	if c.Desc != nil {
		return *c.Desc
	}
	return fmt.Sprintf("Class %04d", c.Class)
}

func (b *BridgeBusInfo) print(w io.Writer) {
	fmt.Fprintf(w, "      BUS %d.\n      secondary bus %d.\n      subordinate bus %d.\n", b.Number, b.Secondary, b.Subordinate)
	fmt.Fprintf(w, "      IO range [0x%04x, 0x%04x]\n", b.IO.Base, b.IO.Limit)
	fmt.Fprintf(w, "      memory range [0x%08x, 0x%08x]\n", b.Memory.Base, b.Memory.Limit)
	fmt.Fprintf(w, "      prefetchable memory range [0x%08x, 0x%08x]\n", b.Prefetchable.Base, b.Prefetchable.Limit)
}

func (r *RegionInfo) print(w io.Writer) {
	first, last := uint64(r.Address), uint64(r.Address)+uint64(r.Size)-1
	fmt.Fprintf(w, "      BAR%d: ", r.BAR)
	if r.Type == "io" {
		fmt.Fprintf(w, "I/O at 0x%04x [0x%04x].\n", first, last)
		return
	}
	bits, prefetch := 32, ""
	if r.Mem64 != nil && *r.Mem64 {
		bits = 64
	}
	if r.Prefetch != nil && *r.Prefetch {
		prefetch = " prefetchable"
	}
	fmt.Fprintf(w, "%d bit%s memory at 0x%08x [0x%08x].\n", bits, prefetch, first, last)
}

// DescribeDevice implements device.Describer.
func (b *Bus) DescribeDevice(dev device.Device, line func(format string, args ...any)) {
	f, ok := dev.(Function)
	if !ok {
		return
	}
	info := f.PCI().info(b.Number())
	sub, vendor := 0, 0
	if info.ID.Subsystem != nil {
		sub, vendor = *info.ID.Subsystem, *info.ID.SubsystemVendor
	}
	line("class %s, addr %02x:%02x.%x, pci id %04x:%04x (sub %04x:%04x)", info.Class.text(), b.Number(), info.Slot, info.Function,
		info.ID.Vendor, info.ID.Device, vendor, sub)
	for i := range info.Regions {
		r := &info.Regions[i]
		kind := "mem"
		if r.Type == "io" {
			kind = "i/o"
		}
		line("bar %d: %s at 0x%x [0x%x]", r.BAR, kind, uint64(r.Address), uint64(r.Address)+uint64(r.Size)-1)
	}
}
