package ata

import (
	"fmt"

	"govmd/internal/device/scsi/sense"
	"govmd/internal/runstate"
)

// savedDrive is a drive's state. A request that is under way, or parked, is made
// again when the machine runs.
type savedDrive struct {
	Regs      savedRegs  `cbor:"registers"`
	INTRQ     bool       `cbor:"intrq"`
	Task      savedTask  `cbor:"task"`
	Buffer    []byte     `cbor:"buffer"`
	Heads     int        `cbor:"heads"`
	Secs      int        `cbor:"sectors"`
	Multiple  int        `cbor:"multiple"`
	Transfer  byte       `cbor:"transfer-mode"`
	Cache     bool       `cbor:"write-cache"`
	SMART     savedSMART `cbor:"smart"`
	Standby   bool       `cbor:"standby"`
	QueueFail QueueError `cbor:"queue-error"`
	CD        *savedCD   `cbor:"cd"`
}

type savedRegs struct {
	Now    [5]byte `cbor:"now"` // feature, count, low, mid, high
	Before [5]byte `cbor:"before"`
	Device byte    `cbor:"device"`
	Status byte    `cbor:"status"`
	Error  byte    `cbor:"error"`
}

type savedTask struct {
	Command byte  `cbor:"command"`
	Phase   uint8 `cbor:"phase"`
	Step    uint8 `cbor:"step"`
	Ext     bool  `cbor:"ext"`
	LBA     int64 `cbor:"lba"`
	Left    int   `cbor:"left"`
	Block   int   `cbor:"block"`
	FUA     bool  `cbor:"fua"`
	Pos     int   `cbor:"pos"`
	End     int   `cbor:"end"`
	DMA     bool  `cbor:"dma"`
	From    Pos   `cbor:"from"`
	Limit   int   `cbor:"limit"`
	Total   int   `cbor:"total"`
	Raw     byte  `cbor:"raw"`
}

type savedSMART struct {
	Enabled  bool   `cbor:"enabled"`
	Autosave bool   `cbor:"autosave"`
	Tests    []byte `cbor:"tests"`
}

type savedCD struct {
	Packet  [packetSize]byte `cbor:"packet"`
	Sense   byte             `cbor:"sense"`
	ASC     byte             `cbor:"asc"`
	ASCQ    byte             `cbor:"ascq"`
	Changed uint8            `cbor:"changed"`
	Open    bool             `cbor:"open"`
	Locked  bool             `cbor:"locked"`
	New     bool             `cbor:"new-medium"`
	Eject   bool             `cbor:"eject-request"`
}

func (d *Drive) save() savedDrive {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, t := &d.regs, &d.task
	s := savedDrive{
		Regs:  savedRegs{r.Wide.bytes(), r.Prev.bytes(), r.Device, r.Status, r.Error},
		INTRQ: d.intrq,
		Task: savedTask{
			t.cmd, uint8(t.phase), uint8(t.step), t.ext, t.lba, t.left, t.block, t.fua, t.pos, t.end, t.dma, t.from, t.limit, t.total, t.raw,
		},
		Heads: d.heads, Secs: d.secs, Multiple: d.multiple, Transfer: d.xfer, Cache: d.drive.WriteCache(),
		SMART:   savedSMART{d.smart.enabled, d.smart.autosave, append([]byte{}, d.smart.tests...)},
		Standby: d.standby, QueueFail: d.queueError, Buffer: []byte{},
	}
	if d.req != nil {
		s.Task.From = t.mark
	}
	if n := d.bufferInUse(); n > 0 {
		s.Buffer = append(s.Buffer, d.buffer()[:n]...)
	}
	if c := d.cd; c != nil {
		s.CD = &savedCD{c.code, c.sense.Key, c.sense.ASC, c.sense.ASCQ, uint8(c.changed), c.open, c.locked, c.newMedium, c.ejectRequest}
	}
	return s
}

// bufferInUse is how much of the buffer the command that is under way needs.
func (d *Drive) bufferInUse() int {
	t := &d.task
	switch {
	case t.phase == phaseIdle:
		return 0
	case t.step == stepWrite:
		return max(t.end, t.sectors()*SectorSize)
	}
	return t.end + t.total
}

func (d *Drive) load(s *savedDrive) error {
	if (s.CD != nil) != (d.cd != nil) {
		return fmt.Errorf("the state is of another kind of drive")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abandon()
	t := task{
		s.Task.Command, phase(s.Task.Phase), step(s.Task.Step), s.Task.Ext, s.Task.LBA, s.Task.Left, s.Task.Block, s.Task.FUA,
		s.Task.Pos, s.Task.End, s.Task.DMA, s.Task.From, Pos{}, s.Task.Limit, s.Task.Total, s.Task.Raw,
	}
	if err := d.checkTask(&t, len(s.Buffer)); err != nil {
		return err
	}
	switch {
	case s.Heads < 1 || s.Heads > 256 || s.Secs < 1 || s.Secs > 256:
		return fmt.Errorf("geometry of %d heads and %d sectors", s.Heads, s.Secs)
	case s.Multiple < 0 || s.Multiple > maxMultiple:
		return fmt.Errorf("blocks of %d sectors", s.Multiple)
	case len(s.SMART.Tests) > maxTests:
		return fmt.Errorf("%d self-tests", len(s.SMART.Tests))
	}
	d.regs = TaskFile{wideOf(s.Regs.Now), wideOf(s.Regs.Before), s.Regs.Device, s.Regs.Status, s.Regs.Error}
	d.intrq, d.task = s.INTRQ, t
	if len(s.Buffer) > 0 {
		copy(d.buffer(), s.Buffer)
	}
	d.heads, d.secs, d.multiple, d.xfer = s.Heads, s.Secs, s.Multiple, s.Transfer
	d.smart = smart{enabled: s.SMART.Enabled, autosave: s.SMART.Autosave, tests: append([]byte(nil), s.SMART.Tests...)}
	d.standby, d.queueError = s.Standby, s.QueueFail
	d.drive.SetWriteCache(s.Cache)
	if c := d.cd; c != nil {
		v := s.CD
		c.code, c.sense, c.changed = v.Packet, sense.Code{Key: v.Sense & 15, ASC: v.ASC, ASCQ: v.ASCQ}, changed(min(v.Changed, uint8(changedNew)))
		c.open, c.locked, c.newMedium, c.ejectRequest = v.Open, v.Locked, v.New, v.Eject
	}
	d.resume = t.phase == phaseMedium
	return nil
}

// checkTask refuses a command that this drive cannot be in the middle of.
func (d *Drive) checkTask(t *task, buffered int) error {
	cd := t.step == stepPacket || t.step == stepReply || t.step == stepCDRead || t.step == stepCDDMA
	size := int64(d.sectorSize())
	switch {
	case t.phase == phaseIdle:
		*t = task{cmd: t.cmd}
		return nil
	case t.phase > phaseMedium || t.step >= numSteps:
		return fmt.Errorf("command %#02x in phase %d, step %d", t.cmd, t.phase, t.step)
	case t.step != stepEnd && cd != (d.cd != nil):
		return fmt.Errorf("command %#02x is not one of this drive's", t.cmd)
	case t.lba < 0 || t.left < 0 || t.left > 1<<32 || t.lba > 1<<62/size:
		return fmt.Errorf("%d sectors at %d", t.left, t.lba)
	case t.block < 0 || t.block > maxMultiple || t.limit < 0 || t.limit > 0xffff:
		return fmt.Errorf("blocks of %d sectors, or %d bytes", t.block, t.limit)
	case t.pos < 0 || t.end < t.pos || t.total < 0 || t.end > bufferSize || t.total > bufferSize-t.end || buffered > bufferSize:
		return fmt.Errorf("bytes %d to %d of a block, %d after it", t.pos, t.end, t.total)
	case (t.phase == phaseIn || t.phase == phaseOut) && t.pos == t.end:
		return fmt.Errorf("a block without data")
	case t.phase == phaseOut && t.step == stepPacket && t.end != packetSize:
		return fmt.Errorf("a packet of %d bytes", t.end)
	case t.phase == phaseOut && t.step == stepWrite && t.end != t.sectors()*SectorSize:
		return fmt.Errorf("a block of %d bytes for %d sectors", t.end, t.sectors())
	case t.step == stepDiscard && t.end%rangeSize+t.pos%rangeSize != 0:
		return fmt.Errorf("ranges from %d to %d", t.pos, t.end)
	case (t.phase == phaseDMA || t.phase == phaseMedium) && (t.step == stepEnd || t.step == stepPacket):
		return fmt.Errorf("command %#02x waits for nothing", t.cmd)
	case t.phase == phaseMedium && (t.step == stepReply || t.step == stepDSM):
		return fmt.Errorf("command %#02x waits for a medium that it does not use", t.cmd)
	case t.phase == phaseMedium && t.step != stepFlush && t.step != stepDiscard && t.left == 0:
		return fmt.Errorf("command %#02x moves nothing", t.cmd)
	}
	return nil
}

// resumePriority has drives go on after their controller.
const resumePriority = 60

// loaded goes on at once if the machine runs.
func (d *Drive) loaded() error {
	if d.base.Env().Run.Running() {
		d.runStateChanged(true, runstate.Running)
	}
	return nil
}

// runStateChanged makes the request of a loaded state.
func (d *Drive) runStateChanged(running bool, _ runstate.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if running && d.resume {
		d.resume = false
		d.start()
	}
}
