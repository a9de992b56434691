package ahci

// The controller's registers (section 3.1).
const (
	regCAP = 0x00
	regGHC = 0x04
	regIS  = 0x08
	regPI  = 0x0c
	regVS  = 0x10

	portBase = 0x100
	portSize = 0x80

	capSlots = (slots - 1) << 8
	capGen1  = 1 << 20
	capAHCI  = 1 << 18
	capNCQ   = 1 << 30
	cap64    = 1 << 31

	ghcHR = 1 << 0
	ghcIE = 1 << 1
	ghcAE = 1 << 31

	version = 0x00010000
)

// A port's registers (section 3.3).
const (
	pxCLB  = 0x00
	pxCLBU = 0x04
	pxFB   = 0x08
	pxFBU  = 0x0c
	pxIS   = 0x10
	pxIE   = 0x14
	pxCMD  = 0x18
	pxTFD  = 0x20
	pxSIG  = 0x24
	pxSSTS = 0x28
	pxSCTL = 0x2c
	pxSERR = 0x30
	pxSACT = 0x34
	pxCI   = 0x38
)

// Bits of PxCMD.
const (
	cmdST   = 1 << 0
	cmdSUD  = 1 << 1
	cmdPOD  = 1 << 2
	cmdCLO  = 1 << 3
	cmdFRE  = 1 << 4
	cmdFR   = 1 << 14
	cmdCR   = 1 << 15
	cmdAtap = 1 << 24
	cmdDLAE = 1 << 25
	cmdALPE = 1 << 26
	cmdASP  = 1 << 27

	cmdStored  = cmdST | cmdSUD | cmdPOD | cmdFRE | cmdAtap | cmdDLAE | cmdALPE | cmdASP
	cmdCCSMask = 31 << 8
)

// Bits of PxIS and PxIE.
const (
	isDHRS = 1 << 0  // register FIS
	isPSS  = 1 << 1  // PIO set-up FIS
	isSDBS = 1 << 3  // set device bits FIS
	isPCS  = 1 << 6  // the link has changed: follows PxSERR
	isPRCS = 1 << 22 // follows PxSERR, too
	isOFS  = 1 << 24 // more data than memory
	isHBFS = 1 << 29 // memory is not there
	isTFES = 1 << 30 // an error in the task file

	isFollows  = isPCS | isPRCS
	isWritable = 0xfdc000af // IE
)

const (
	serrN = 1 << 16 // the physical layer's state has changed
	serrX = 1 << 26 // a device has come

	sstsUp = 0x113 // a device, at 1.5 Gb/s, awake

	sigNone = 0xffffffff
	tfdNone = 0x7f
)

// registers is the memory of base address register 5.
type registers struct{ d *Device }

func (r registers) ReadIO(off uint64, _ int) uint64 { return uint64(r.d.read(off)) }

func (r registers) WriteIO(off uint64, _ int, v uint64) { r.d.write(off, uint32(v)) }

func (d *Device) read(off uint64) uint32 {
	if off >= portBase {
		if n := (off - portBase) / portSize; n < numPorts {
			return d.ports[n].read(off % portSize)
		}
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch off {
	case regCAP:
		return numPorts - 1 | capSlots | capGen1 | capAHCI | capNCQ | cap64
	case regGHC:
		return d.ghc
	case regIS:
		return d.is
	case regPI:
		return 1<<numPorts - 1
	case regVS:
		return version
	}
	return 0
}

func (d *Device) write(off uint64, v uint32) {
	if off >= portBase {
		if n := (off - portBase) / portSize; n < numPorts {
			d.ports[n].write(off%portSize, v)
		}
		return
	}
	switch off {
	case regGHC:
		if v&ghcHR != 0 {
			d.resetController()
			return
		}
		d.mu.Lock()
		d.ghc = v&ghcIE | ghcAE
		d.mu.Unlock()
		d.interrupt(false)
	case regIS:
		d.mu.Lock()
		d.is &^= v
		d.mu.Unlock()
		d.interrupt(true)
	}
}

// resetController is GHC.HR (section 10.4.3), which is over at once.
func (d *Device) resetController() {
	for _, p := range d.ports {
		p.mu.Lock()
		p.comReset()
		p.powerOn()
		p.linkUp()
		drive := p.drive
		p.mu.Unlock()
		if drive != nil {
			drive.CancelParked()
		}
	}
	d.mu.Lock()
	d.ghc, d.is = ghcAE, 0
	d.mu.Unlock()
	d.interrupt(false)
}

// idp is the I/O ports through which firmware of old reaches the registers: an index
// and data.
type idp struct{ d *Device }

func (r idp) ReadIO(off uint64, size int) uint64 {
	switch {
	case off == indexIO && size == 4:
		r.d.mu.Lock()
		defer r.d.mu.Unlock()
		return uint64(r.d.index)
	case off == indexIO+4 && size == 4:
		return uint64(r.d.read(r.at()))
	}
	return 0
}

func (r idp) WriteIO(off uint64, size int, v uint64) {
	switch {
	case off == indexIO && size == 4:
		r.d.mu.Lock()
		defer r.d.mu.Unlock()
		r.d.index = uint32(v) & 0xffc
	case off == indexIO+4 && size == 4:
		r.d.write(r.at(), uint32(v))
	}
}

func (r idp) at() uint64 {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return uint64(r.d.index)
}
