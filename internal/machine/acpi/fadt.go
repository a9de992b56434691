package acpi

// fadt is the fixed ACPI description table (section 5.2.9): the fields that are
// not always 0 here.
type fadt struct {
	revision, minor uint8

	model              uint8 // 1: multiple APIC; reserved since revision 2
	sci                uint16
	smiCommand         uint32
	enable, disable    uint8
	pm1Event, pm1Ctl   uint16
	pmTimer            uint16
	gpe0               uint16
	gpe0Len            uint8
	c2Latency          uint16 // from 101 on: not supported
	c3Latency          uint16 // from 1001 on: not supported
	century            uint8
	bootArch           uint16
	flags              uint32
	reset              gas
	resetValue         uint8
	sleepCtl, sleepSts gas // revision 5 and later
}

// Offsets of the pointers.
const (
	fadtFACS  = 36
	fadtDSDT  = 40
	fadtXDSDT = 140
)

// Boot architecture flags (table 5.11).
const (
	bootLegacyDevices = 1 << 0
	boot8042          = 1 << 1
	bootNoVGA         = 1 << 2
	bootNoRTC         = 1 << 5
)

// Feature flags (table 5.10).
const (
	flagWBINVD           = 1 << 0
	flagC1               = 1 << 2
	flagNoFixedPower     = 1 << 4
	flagNoFixedSleep     = 1 << 5
	flagRTCS4            = 1 << 7
	flagReset            = 1 << 10
	flagPlatformClock    = 1 << 15
	flagAPICClusterModel = 1 << 18
	flagHardwareReduced  = 1 << 20
)

func (f fadt) table() Table {
	size := 244
	if f.revision >= 5 {
		size = 276
	}
	b := make([]byte, size)
	b[44] = f.model
	le.PutUint16(b[46:], f.sci)
	le.PutUint32(b[48:], f.smiCommand)
	b[52], b[53] = f.enable, f.disable
	le.PutUint32(b[56:], uint32(f.pm1Event))
	le.PutUint32(b[64:], uint32(f.pm1Ctl))
	le.PutUint32(b[76:], uint32(f.pmTimer))
	le.PutUint32(b[80:], uint32(f.gpe0))
	if f.pm1Event != 0 {
		b[88], b[89], b[91] = 4, 2, 4
		gas{inIO, 32, 2, uint64(f.pm1Event)}.put(b[148:])
		gas{inIO, 16, 2, uint64(f.pm1Ctl)}.put(b[172:])
		gas{inIO, 32, 3, uint64(f.pmTimer)}.put(b[208:])
	}
	if f.gpe0 != 0 {
		b[92] = f.gpe0Len
		gas{inIO, f.gpe0Len * 8, 1, uint64(f.gpe0)}.put(b[220:])
	}
	le.PutUint16(b[96:], f.c2Latency)
	le.PutUint16(b[98:], f.c3Latency)
	b[108] = f.century
	le.PutUint16(b[109:], f.bootArch)
	le.PutUint32(b[112:], f.flags)
	if f.flags&flagReset != 0 {
		f.reset.put(b[116:])
		b[128] = f.resetValue
	}
	b[131] = f.minor
	if f.revision >= 5 {
		f.sleepCtl.put(b[244:])
		f.sleepSts.put(b[256:])
	}
	return Table{"FACP", f.revision, b[headerLen:]}
}

// addFADT adds the table and its pointers. facs is -1 for a machine without.
func (b *builder) addFADT(f fadt, facs, dsdt int) {
	at := b.addListed(f.table())
	if facs >= 0 {
		// X_FIRMWARE_CTRL stays 0: only one of the two may be used.
		b.point(at+fadtFACS, 4, facs)
	}
	b.point(at+fadtDSDT, 4, dsdt)
	b.point(at+fadtXDSDT, 8, dsdt)
}
