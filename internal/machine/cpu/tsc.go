package cpu

import "govmd/internal/kvm"

// stoppedTSC is what a vCPU's time-stamp counter showed when the machine was
// stopped. The counter itself goes on, but what is saved is this, however long
// after the stop that is.
type stoppedTSC struct {
	stopped bool
	value   uint64
}

// put replaces the counter's value among MSRs that were read.
func (t *stoppedTSC) put(msrs []MSR) {
	for i := range msrs {
		if t.stopped && msrs[i].Index == msrTSC {
			msrs[i].Value = t.value
		}
	}
}

// take notes the counter's value among MSRs that were loaded.
func (t *stoppedTSC) take(msrs []MSR) {
	for i := range msrs {
		if msrs[i].Index == msrTSC {
			t.value = msrs[i].Value
		}
	}
}

// StopTSC says that the machine has been stopped: what Save tells of the
// time-stamp counter is as of now until StartTSC, or as loaded meanwhile.
func (c *VCPU) StopTSC() error {
	if c.tsc.stopped {
		return nil
	}
	tsc := []kvm.MSR{{Index: msrTSC}}
	if err := c.vcpu.GetMSRs(tsc); err != nil {
		return err
	}
	c.tsc = stoppedTSC{true, tsc[0].Value}
	return nil
}

// StartTSC says that the machine runs.
func (c *VCPU) StartTSC() { c.tsc.stopped = false }
