package pci

// BusInfo is what query-pci tells of a bus.
type BusInfo struct {
	Bus     int            `qmp:"bus"`
	Devices []FunctionInfo `qmp:"devices"`
}

// FunctionInfo is what query-pci tells of a function.
type FunctionInfo struct {
	Bus      int          `qmp:"bus"`
	Slot     int          `qmp:"slot"`
	Function int          `qmp:"function"`
	Class    ClassInfo    `qmp:"class_info"`
	ID       IDInfo       `qmp:"id"`
	IRQ      *int         `qmp:"irq"`
	IRQPin   int          `qmp:"irq_pin"`
	QdevID   string       `qmp:"qdev_id"`
	Bridge   *BridgeInfo  `qmp:"pci_bridge"`
	Regions  []RegionInfo `qmp:"regions"`
}

// ClassInfo is a function's class, and what that is called.
type ClassInfo struct {
	Desc  *string `qmp:"desc"`
	Class int     `qmp:"class"`
}

// IDInfo identifies a function.
type IDInfo struct {
	Device          int  `qmp:"device"`
	Vendor          int  `qmp:"vendor"`
	Subsystem       *int `qmp:"subsystem"`
	SubsystemVendor *int `qmp:"subsystem-vendor"`
}

// BridgeInfo is what is behind a bridge.
type BridgeInfo struct {
	Bus     BridgeBusInfo  `qmp:"bus"`
	Devices []FunctionInfo `qmp:"devices,optional"`
}

// BridgeBusInfo are a bridge's bus numbers and windows.
type BridgeBusInfo struct {
	Number       int         `qmp:"number"`
	Secondary    int         `qmp:"secondary"`
	Subordinate  int         `qmp:"subordinate"`
	IO           BridgeRange `qmp:"io_range"`
	Memory       BridgeRange `qmp:"memory_range"`
	Prefetchable BridgeRange `qmp:"prefetchable_range"`
}

// BridgeRange is a window of a bridge; it is closed when limit is below base.
type BridgeRange struct {
	Base  uint64 `qmp:"base"`
	Limit uint64 `qmp:"limit"`
}

// RegionInfo is what a base address register maps. Address is -1 where it is not mapped.
type RegionInfo struct {
	BAR      int    `qmp:"bar"`
	Type     string `qmp:"type"` // "io" or "memory"
	Address  int64  `qmp:"address"`
	Size     int64  `qmp:"size"`
	Prefetch *bool  `qmp:"prefetch"`
	Mem64    *bool  `qmp:"mem_type_64"`
}

// classNames are those of query-pci, by class code.
var classNames = map[int]string{
	0x0001: "VGA controller", 0x0100: "SCSI controller", 0x0101: "IDE controller", 0x0102: "Floppy controller",
	0x0103: "IPI controller", 0x0104: "RAID controller", 0x0106: "SATA controller", 0x0107: "SAS controller",
	0x0180: "Storage controller", 0x0200: "Ethernet controller", 0x0201: "Token Ring controller",
	0x0202: "FDDI controller", 0x0203: "ATM controller", 0x0280: "Network controller", 0x0300: "VGA controller",
	0x0301: "XGA controller", 0x0302: "3D controller", 0x0380: "Display controller", 0x0400: "Video controller",
	0x0401: "Audio controller", 0x0402: "Phone", 0x0403: "Audio controller", 0x0480: "Multimedia controller",
	0x0500: "RAM controller", 0x0501: "Flash controller", 0x0580: "Memory controller", 0x0600: "Host bridge",
	0x0601: "ISA bridge", 0x0602: "EISA bridge", 0x0603: "MC bridge", 0x0604: "PCI bridge", 0x0605: "PCMCIA bridge",
	0x0606: "NUBUS bridge", 0x0607: "CARDBUS bridge", 0x0608: "RACEWAY bridge", 0x0680: "Bridge",
	0x0700: "Serial port", 0x0701: "Parallel port", 0x0800: "Interrupt controller", 0x0801: "DMA controller",
	0x0802: "Timer", 0x0803: "RTC", 0x0900: "Keyboard", 0x0901: "Pen", 0x0902: "Mouse", 0x0a00: "Dock station",
	0x0b00: "i386 cpu", 0x0c00: "Firewire controller", 0x0c01: "Access bus controller", 0x0c02: "SSA controller",
	0x0c03: "USB controller", 0x0c04: "Fibre channel controller", 0x0c05: "SMBus",
}

// Info describes the bus and all that is on it. It is called on the control lane.
func (b *Bus) Info() BusInfo {
	info := BusInfo{Bus: b.Number(), Devices: []FunctionInfo{}}
	for _, d := range b.funcs {
		if d != nil {
			info.Devices = append(info.Devices, d.info(info.Bus))
		}
	}
	return info
}

func (d *Device) info(bus int) FunctionInfo {
	c := &d.config
	f := FunctionInfo{
		Bus: bus, Slot: d.Slot(), Function: d.Fn(), QdevID: d.ID(), IRQPin: int(c.U8(RegInterruptPin)),
		Class: ClassInfo{Class: int(c.U16(RegClass + 1))},
		ID:    IDInfo{Device: int(c.U16(RegDevice)), Vendor: int(c.U16(RegVendor))},
	}
	if name, ok := classNames[f.Class.Class]; ok {
		f.Class.Desc = &name
	}
	if f.IRQPin != 0 {
		line := int(c.U8(RegInterruptLine))
		f.IRQ = &line
	}
	if d.bridge {
		f.Bridge = d.bridgeInfo()
	} else {
		sub, vendor := int(c.U16(RegSubsystem)), int(c.U16(RegSubsystemVendor))
		f.ID.Subsystem, f.ID.SubsystemVendor = &sub, &vendor
	}
	f.Regions = d.regionInfos()
	return f
}

func (d *Device) regionInfos() []RegionInfo {
	list := []RegionInfo{}
	d.access.Lock()
	defer d.access.Unlock()
	for n := range d.bars {
		b := &d.bars[n]
		if b.region == nil {
			continue
		}
		r := RegionInfo{BAR: n, Type: "memory", Address: -1, Size: int64(b.size)}
		if b.mapped {
			r.Address = int64(b.addr)
		}
		if b.typ == BARIO {
			r.Type = "io"
		} else {
			prefetch, wide := b.typ&BARPrefetch != 0, b.typ&BARMem64 != 0
			r.Prefetch, r.Mem64 = &prefetch, &wide
		}
		list = append(list, r)
	}
	return list
}

// bridgeInfo reads the header of a PCI-to-PCI bridge (PCI-to-PCI Bridge
// Architecture Specification 1.2, 3.2.5).
func (d *Device) bridgeInfo() *BridgeInfo {
	const (
		ioBase, ioLimit             = 0x1c, 0x1d
		memBase, memLimit           = 0x20, 0x22
		prefBase, prefLimit         = 0x24, 0x26
		prefBaseHigh, prefLimitHigh = 0x28, 0x2c
		ioBaseHigh, ioLimitHigh     = 0x30, 0x32
	)
	c := &d.config
	info := &BridgeInfo{Bus: BridgeBusInfo{
		Number: int(c.U8(RegPrimaryBus)), Secondary: int(c.U8(RegSecondaryBus)), Subordinate: int(c.U8(RegSubordinateBus)),
		IO:     BridgeRange{uint64(c.U8(ioBase)&0xf0) << 8, uint64(c.U8(ioLimit)&0xf0)<<8 | 0xfff},
		Memory: BridgeRange{uint64(c.U16(memBase)&0xfff0) << 16, uint64(c.U16(memLimit)&0xfff0)<<16 | 0xfffff},
		Prefetchable: BridgeRange{
			uint64(c.U16(prefBase)&0xfff0) << 16, uint64(c.U16(prefLimit)&0xfff0)<<16 | 0xfffff,
		},
	}}
	if c.U8(ioBase)&0xf == 1 {
		info.Bus.IO.Base |= uint64(c.U16(ioBaseHigh)) << 16
		info.Bus.IO.Limit |= uint64(c.U16(ioLimitHigh)) << 16
	}
	if c.U16(prefBase)&0xf == 1 {
		info.Bus.Prefetchable.Base |= uint64(c.U32(prefBaseHigh)) << 32
		info.Bus.Prefetchable.Limit |= uint64(c.U32(prefLimitHigh)) << 32
	}
	for _, child := range d.ChildBuses() {
		if b, ok := child.Controller().(*Bus); ok {
			info.Devices = append(info.Devices, b.Info().Devices...)
		}
	}
	return info
}
