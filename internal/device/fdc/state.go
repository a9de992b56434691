package fdc

import (
	"errors"

	"govmd/internal/state"
)

// savedState is the state of the controller.
type savedState struct {
	Registers registers `cbor:"registers"`
	Transfer  transfer  `cbor:"transfer"`
	Buffer    []byte    `cbor:"buffer"`
}

// States implements device.Stater.
func (c *Controller) States() []state.Entry {
	e := state.Of("", 1, c.save, c.load)
	e.PostLoad = func() error {
		if c.Env().Run.Running() {
			c.resumeLoaded()
		}
		return nil
	}
	return []state.Entry{e}
}

// settle waits until no request is under way.
func (c *Controller) settle() {
	for _, f := range c.places {
		if f != nil {
			f.wait()
		}
	}
}

func (c *Controller) save() savedState {
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := savedState{Registers: c.r, Transfer: c.x}
	if c.x.Step != stepNone {
		s.Buffer = append([]byte(nil), c.buf[:c.x.Size]...)
	}
	return s
}

var errState = errors.New("the controller's state contradicts itself")

func (c *Controller) load(s *savedState) error {
	r, x := &s.Registers, &s.Transfer
	switch {
	case r.Phase >= phases || r.Pos < 0 || r.Len < 0 || r.Len > fifoSize || r.Pos > r.Len,
		r.Phase == phaseResult && r.Pos == r.Len, r.Phase == phaseCommand && r.Pos > 0 && r.Pos == r.Len,
		r.Phase == phaseCommand && r.Len > 0 && r.Pos > 0 && r.Len != commandLength(r.FIFO[0]),
		(r.Phase == phaseExecute) != (x.Step != stepNone),
		r.SenseLen < 0 || r.SenseLen > maxSense, r.Rate > dsrRate,
		x.Step >= steps || x.Drive > 3 || x.Head > 1, x.Size < 0 || x.Size > trackSize || x.Pos < 0,
		x.Step != stepNone && (x.Sector == 0 || x.Size == 0 || x.Pos > x.Size),
		x.Step == stepMove && x.Pos == x.Size,
		x.Step == stepImage && x.Size%sectorSize != 0,
		x.Format && (int(x.Last)*sectorSize > trackSize || x.Last == 0),
		len(s.Buffer) > trackSize:
		return errState
	}
	c.mu.Lock()
	c.abandon()
	c.x = transfer{}
	c.mu.Unlock()
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r, c.x = *r, *x
	copy(c.buf, s.Buffer)
	c.setIRQ(c.r.IRQ)
	c.channel.SetRequest(x.Step == stepMove && !c.pio())
	c.resumes = x.Step == stepImage
	return nil
}

// resumeLoaded makes the request again that a loaded controller had under way.
func (c *Controller) resumeLoaded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resumes {
		c.resumes = false
		c.submit()
	}
}

// savedFloppy is the state of a drive.
type savedFloppy struct {
	Track   uint8 `cbor:"track"`
	Changed bool  `cbor:"changed"`
}

// States implements device.Stater.
func (f *Floppy) States() []state.Entry {
	return []state.Entry{state.Of("", 1,
		func() savedFloppy {
			f.ctl.mu.Lock()
			defer f.ctl.mu.Unlock()
			return savedFloppy{f.track, f.changed}
		},
		func(s *savedFloppy) error {
			f.ctl.mu.Lock()
			defer f.ctl.mu.Unlock()
			f.track, f.changed = s.Track, s.Changed
			return nil
		})}
}
