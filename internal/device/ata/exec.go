package ata

// Start executes the command in v, unless the drive is busy. The mutex is held.
func (d *Drive) Start(v byte) {
	switch {
	case d.Busy() && !(v == cmdDeviceReset && d.cd != nil):
		return
	case d.dead:
		return
	}
	d.setINTRQ(false)
	d.regs.Error = 0
	d.task = task{cmd: v, block: 1}
	if d.cd != nil {
		d.startPacketDevice(v)
		return
	}
	d.startDisk(v)
}

func (d *Drive) startDisk(v byte) {
	switch v {
	case cmdRead, cmdReadOnce:
		d.read(false, 1)
	case cmdReadExt:
		d.read(true, 1)
	case cmdReadMultiple:
		d.read(false, d.multiple)
	case cmdReadMultipleExt:
		d.read(true, d.multiple)
	case cmdWrite, cmdWriteOnce:
		d.write(false, 1)
	case cmdWriteExt:
		d.write(true, 1)
	case cmdWriteMultiple:
		d.write(false, d.multiple)
	case cmdWriteMultipleExt:
		d.write(true, d.multiple)
	case cmdWriteMultFUAExt:
		d.task.fua = true
		d.write(true, d.multiple)
	case cmdReadDMA, cmdReadDMAOnce:
		d.moveDMA(false, stepReadDMA)
	case cmdReadDMAExt:
		d.moveDMA(true, stepReadDMA)
	case cmdWriteDMA, cmdWriteDMAOnce:
		d.moveDMA(false, stepWriteDMA)
	case cmdWriteDMAExt:
		d.moveDMA(true, stepWriteDMA)
	case cmdWriteDMAFUAExt:
		d.task.fua = true
		d.moveDMA(true, stepWriteDMA)
	case cmdVerify, cmdVerifyOnce:
		d.verify(false)
	case cmdVerifyExt:
		d.verify(true)
	case cmdDSM:
		d.dsm()
	case cmdIdentify:
		d.identifyDisk(d.buffer()[:SectorSize])
		d.sendSector()
	case cmdReadLogExt:
		d.readLog()
	case cmdSMART:
		d.startSMART()
	default:
		d.startControl(v)
	}
}

// startControl executes what moves no data.
func (d *Drive) startControl(v byte) {
	switch {
	case v&0xf0 == cmdSeek, v&0xf0 == cmdRecalibrate:
		d.finish()
		return
	}
	switch v {
	case cmdFlush, cmdFlushExt:
		d.task.step = stepFlush
		d.start()
	case cmdDiagnose:
		d.diagnose()
	case cmdInitParameters:
		d.initParameters()
	case cmdSetMultiple:
		d.setMultiple()
	case cmdSetFeatures:
		d.setFeatures()
	case cmdReadMax:
		d.task.ext = false
		d.regs.Device |= deviceLBA
		d.setLBA(min(d.Sectors(), lba28Sectors)-1, false)
		d.finish()
	case cmdReadMaxExt:
		d.setLBA(d.Sectors()-1, true)
		d.finish()
	case cmdSecurityFreeze:
		d.finish() // it is frozen from the start
	case cmdCheckPower, cmdOldCheckPower:
		d.regs.Count = 0xff
		if d.standby {
			d.regs.Count = 0
		}
		d.finish()
	case cmdIdle, cmdIdleNow, cmdOldIdle, cmdOldIdleNow:
		d.standby = false
		d.finish()
	case cmdStandby, cmdStandbyNow, cmdOldStandby, cmdOldStandbyNow, cmdSleep, cmdOldSleep:
		d.standby = true
		if d.cd != nil {
			d.finish()
			return
		}
		d.task.step = stepFlush
		d.start()
	default: // NOP among them, which always fails
		d.abort()
	}
}

// lba28Sectors is how many sectors 28 bits can tell of.
const lba28Sectors = 1<<28 - 1

// prepare reads address and count; false: they are outside of the disk, and the
// command has ended.
func (d *Drive) prepare(ext bool) bool {
	t := &d.task
	t.ext = ext
	t.lba, t.left = d.lba(ext), d.regs.count(ext)
	d.standby = false
	if t.lba < 0 || t.lba+int64(t.left) > d.Sectors() {
		d.fail(ErrorIDNF | ErrorABRT)
		return false
	}
	return true
}

// read is PIO data-in.
func (d *Drive) read(ext bool, multiple int) {
	if multiple == 0 {
		d.abort()
		return
	}
	if d.prepare(ext) {
		d.task.step, d.task.block = stepRead, multiple
		d.start()
	}
}

// write is PIO data-out: the host does not wait for an interrupt before the first block.
func (d *Drive) write(ext bool, multiple int) {
	if multiple == 0 {
		d.abort()
		return
	}
	if d.prepare(ext) {
		d.task.step, d.task.block = stepWrite, multiple
		d.receiveBlock(d.task.sectors() * SectorSize)
		d.port.Data(d)
	}
}

func (d *Drive) moveDMA(ext bool, s step) {
	if d.prepare(ext) {
		d.task.step = s
		d.startDMA()
	}
}

// verify reads nothing: an image has no sectors that cannot be read until one tries.
func (d *Drive) verify(ext bool) {
	if d.prepare(ext) {
		d.finishAt(d.task.lba + int64(d.task.left))
	}
}

// diagnose is EXECUTE DEVICE DIAGNOSTIC, for this drive.
func (d *Drive) diagnose() {
	d.task = task{cmd: d.task.cmd}
	d.EndReset()
	d.interrupt()
	d.port.Done(d)
}

// Diagnose has the drive execute EXECUTE DEVICE DIAGNOSTIC, which concerns both
// drives of a cable, without an interrupt. The mutex is held.
func (d *Drive) Diagnose() {
	if !d.Busy() {
		d.EndReset()
	}
}

func (d *Drive) initParameters() {
	heads, secs := int(d.regs.Device&15)+1, int(d.regs.Count)
	if secs == 0 {
		d.abort()
		return
	}
	d.heads, d.secs = heads, secs
	d.finish()
}

func (d *Drive) setMultiple() {
	n := int(d.regs.Count)
	if n > maxMultiple || n&(n-1) != 0 {
		d.abort()
		return
	}
	d.multiple = n
	d.finish()
}

// defaultTransfer is UDMA mode 5, as identify data show it unless the host sets another.
const defaultTransfer = 0x45

// setFeatures is SET FEATURES (section 7.47).
func (d *Drive) setFeatures() {
	switch d.regs.Feature {
	case 0x02: // write cache on
		d.drive.SetWriteCache(true)
	case 0x82: // off: what it holds is flushed
		if d.cd == nil {
			d.drive.SetWriteCache(false)
			d.task.step = stepFlush
			d.start()
			return
		}
	case 0x03: // transfer mode
		v := d.regs.Count
		switch mode := v & 7; v >> 3 {
		case 0, 1: // PIO
		case 2, 4: // single and multiword DMA
			if mode > 2 {
				d.abort()
				return
			}
			d.xfer = v
		case 8:
			if mode > 5 {
				d.abort()
				return
			}
			d.xfer = v
		default:
			d.abort()
			return
		}
	case 0x05, 0x85, 0x42, 0xc2, 0x55, 0xaa, 0x66, 0xcc, 0x67, 0x69, 0x95, 0x96, 0x9a:
		// Power and acoustic management, look-ahead, keeping settings over a reset: all
		// the same to an image.
	default:
		d.abort()
		return
	}
	d.finish()
}
