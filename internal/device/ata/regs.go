package ata

// Bits of the status register (ATA8-ACS, section 6.2).
const (
	StatusERR  = 1 << 0
	StatusDRQ  = 1 << 3
	StatusDSC  = 1 << 4 // seek complete; service, of packet devices
	StatusDF   = 1 << 5
	StatusDRDY = 1 << 6
	StatusBSY  = 1 << 7

	statusIdle = StatusDRDY | StatusDSC
)

// Bits of the error register.
const (
	ErrorABRT = 1 << 2
	ErrorIDNF = 1 << 4
	ErrorUNC  = 1 << 6
	ErrorICRC = 1 << 7

	diagnosticsPassed = 1
)

// Bits of the device control register.
const (
	ControlNIEN = 1 << 1 // no interrupts
	ControlSRST = 1 << 2
	ControlHOB  = 1 << 7 // the bytes before the last are read
)

// Bits of the device register.
const (
	deviceDEV  = 1 << 4 // which drive of the cable
	deviceLBA  = 1 << 6
	deviceOnes = 0xa0 // set by convention
)

// The interrupt reason, in the count register of packet commands.
const (
	reasonCommand = 1 << 0 // C/D
	reasonIn      = 1 << 1 // I/O
)

// Commands.
const (
	cmdNOP              = 0x00
	cmdDSM              = 0x06
	cmdDeviceReset      = 0x08
	cmdRecalibrate      = 0x10
	cmdRead             = 0x20
	cmdReadOnce         = 0x21
	cmdReadExt          = 0x24
	cmdReadDMAExt       = 0x25
	cmdReadMaxExt       = 0x27
	cmdReadMultipleExt  = 0x29
	cmdReadLogExt       = 0x2f
	cmdWrite            = 0x30
	cmdWriteOnce        = 0x31
	cmdWriteExt         = 0x34
	cmdWriteDMAExt      = 0x35
	cmdWriteMultipleExt = 0x39
	cmdWriteDMAFUAExt   = 0x3d
	cmdVerify           = 0x40
	cmdVerifyOnce       = 0x41
	cmdVerifyExt        = 0x42
	// CmdReadFPDMA and CmdWriteFPDMA are queued (NCQ): the controller runs them.
	CmdReadFPDMA       = 0x60
	CmdWriteFPDMA      = 0x61
	cmdSeek            = 0x70
	cmdDiagnose        = 0x90
	cmdInitParameters  = 0x91
	cmdPacket          = 0xa0
	cmdIdentifyPacket  = 0xa1
	cmdSMART           = 0xb0
	cmdReadMultiple    = 0xc4
	cmdWriteMultiple   = 0xc5
	cmdSetMultiple     = 0xc6
	cmdReadDMA         = 0xc8
	cmdReadDMAOnce     = 0xc9
	cmdWriteDMA        = 0xca
	cmdWriteDMAOnce    = 0xcb
	cmdWriteMultFUAExt = 0xce
	cmdStandbyNow      = 0xe0
	cmdIdleNow         = 0xe1
	cmdStandby         = 0xe2
	cmdIdle            = 0xe3
	cmdCheckPower      = 0xe5
	cmdSleep           = 0xe6
	cmdFlush           = 0xe7
	cmdFlushExt        = 0xea
	cmdIdentify        = 0xec
	cmdSetFeatures     = 0xef
	cmdSecurityFreeze  = 0xf5
	cmdReadMax         = 0xf8
	cmdOldStandbyNow   = 0x94
	cmdOldIdleNow      = 0x95
	cmdOldStandby      = 0x96
	cmdOldIdle         = 0x97
	cmdOldCheckPower   = 0x98
	cmdOldSleep        = 0x99
)

// Wide is the registers that 48-bit commands write twice.
type Wide struct{ Feature, Count, Low, Mid, High byte }

func (w Wide) bytes() [5]byte { return [5]byte{w.Feature, w.Count, w.Low, w.Mid, w.High} }
func wideOf(b [5]byte) Wide   { return Wide{b[0], b[1], b[2], b[3], b[4]} }

// TaskFile is the registers of a drive: each of the wide ones holds the byte that
// was written last and, in Prev, the one before.
type TaskFile struct {
	Wide
	Prev                  Wide
	Device, Status, Error byte
}

// Registers of the command block, by port.
const (
	regFeature = 1 // error, when read
	regCount   = 2
	regLow     = 3
	regMid     = 4
	regHigh    = 5
	regDevice  = 6
	regCommand = 7 // status, when read
)

// write stores what the host writes to a register.
func (t *TaskFile) write(reg int, v byte) {
	switch reg {
	case regFeature:
		t.Prev.Feature, t.Feature = t.Feature, v
	case regCount:
		t.Prev.Count, t.Count = t.Count, v
	case regLow:
		t.Prev.Low, t.Low = t.Low, v
	case regMid:
		t.Prev.Mid, t.Mid = t.Mid, v
	case regHigh:
		t.Prev.High, t.High = t.High, v
	case regDevice:
		t.Device = v | deviceOnes
	}
}

// read returns what a register of the command block reads as.
func (t *TaskFile) read(reg int, hob bool) byte {
	w := &t.Wide
	if hob {
		w = &t.Prev
	}
	switch reg {
	case regFeature:
		if hob {
			return w.Feature
		}
		return t.Error
	case regCount:
		return w.Count
	case regLow:
		return w.Low
	case regMid:
		return w.Mid
	case regHigh:
		return w.High
	case regDevice:
		return t.Device
	}
	return t.Status
}

// count returns the number of sectors that a command is about.
func (t *TaskFile) count(ext bool) int {
	switch {
	case !ext && t.Count == 0:
		return 256
	case !ext:
		return int(t.Count)
	}
	if n := int(t.Prev.Count)<<8 | int(t.Count); n != 0 {
		return n
	}
	return 65536
}

// lba48 is the address of a 48-bit command.
func (t *TaskFile) lba48() int64 {
	return int64(t.Prev.High)<<40 | int64(t.Prev.Mid)<<32 | int64(t.Prev.Low)<<24 |
		int64(t.High)<<16 | int64(t.Mid)<<8 | int64(t.Low)
}

func (t *TaskFile) setLBA48(n int64) {
	t.Low, t.Mid, t.High = byte(n), byte(n>>8), byte(n>>16)
	t.Prev.Low, t.Prev.Mid, t.Prev.High = byte(n>>24), byte(n>>32), byte(n>>40)
}

// LBA is the address that the registers hold: of 28 bits, or of cylinder, head and sector.
func (d *Drive) lba(ext bool) int64 {
	t := &d.regs
	switch {
	case ext:
		return t.lba48()
	case t.Device&deviceLBA != 0:
		return int64(t.Device&15)<<24 | int64(t.High)<<16 | int64(t.Mid)<<8 | int64(t.Low)
	}
	cyl := int64(t.High)<<8 | int64(t.Mid)
	return (cyl*int64(d.heads)+int64(t.Device&15))*int64(d.secs) + int64(t.Low) - 1
}

// setLBA shows an address in the registers, in the same form.
func (d *Drive) setLBA(n int64, ext bool) {
	t := &d.regs
	switch {
	case ext:
		t.setLBA48(n)
	case t.Device&deviceLBA != 0:
		t.Low, t.Mid, t.High = byte(n), byte(n>>8), byte(n>>16)
		t.Device = t.Device&0xf0 | byte(n>>24)&15
	default:
		track := n / int64(d.secs)
		t.Low = byte(n%int64(d.secs)) + 1
		cyl := track / int64(d.heads)
		t.Mid, t.High = byte(cyl), byte(cyl>>8)
		t.Device = t.Device&0xf0 | byte(track%int64(d.heads))
	}
}
