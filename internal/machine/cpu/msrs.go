package cpu

import (
	"errors"
	"sort"
	"sync"

	"github.com/sirupsen/logrus"

	"govmd/internal/kvm"
)

// MSRs with a part in setting up or in the order of loading.
const (
	msrTSC            = 0x10
	msrFeatureControl = 0x3a
	msrMiscEnable     = 0x1a0
	msrMTRRPhys0      = 0x200 // base and mask of each of 8 variable ranges
	msrMTRRDefType    = 0x2ff
	msrMC0Ctl         = 0x400 // control, status, address and misc of each bank
	msrMCGCtl         = 0x17b
	msrTSCDeadline    = 0x6e0
	msrHyperVFirst    = 0x40000000
	msrHyperVLast     = 0x400001ff
	msrVMXFirst       = 0x480
	msrVMXLast        = 0x491

	miscEnableFastStrings = 1 << 0
	mtrrVariable          = 8
	mceBanks              = 10
)

var mtrrFixed = []uint32{0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f}

// MSRList is the MSRs that belong to a vCPU's state on this host. All vCPUs of a
// machine share one: what KVM refuses for one is not tried on the others.
type MSRList struct {
	log *logrus.Logger

	mu      sync.Mutex
	indices []uint32        // in the order in which they are loaded
	refused map[uint32]bool // of which the log knows that KVM does not write them
}

// NewMSRList asks sys which MSRs there are. log takes a debug message for each
// one that is left out later because the host refuses it.
func NewMSRList(sys *kvm.System, log *logrus.Logger) (*MSRList, error) {
	list, err := sys.MSRIndexList()
	if err != nil {
		return nil, err
	}
	return &MSRList{log: log, indices: stateMSRs(list), refused: map[uint32]bool{}}, nil
}

// stateMSRs turns KVM's list into that of a vCPU's state: with MTRRs and machine
// check banks, which KVM keeps but does not list, without what describes the
// processor rather than its state, ordered for loading.
func stateMSRs(listed []uint32) []uint32 {
	seen := map[uint32]bool{}
	var out []uint32
	add := func(i uint32) {
		switch {
		case seen[i], i >= msrHyperVFirst && i <= msrHyperVLast, i >= msrVMXFirst && i <= msrVMXLast,
			i == msrArchCapabilities:
			return
		}
		seen[i] = true
		out = append(out, i)
	}
	for _, i := range listed {
		add(i)
	}
	for i := range uint32(2 * mtrrVariable) {
		add(msrMTRRPhys0 + i)
	}
	for _, i := range mtrrFixed {
		add(i)
	}
	add(msrMTRRDefType)
	add(msrMCGCtl)
	for i := range uint32(4 * mceBanks) {
		add(msrMC0Ctl + i)
	}
	// The TSC comes before what counts in it. The deadline comes last: loading
	// it arms the timer.
	rank := func(i uint32) int {
		switch i {
		case msrTSC:
			return 0
		case msrTSCDeadline:
			return 2
		}
		return 1
	}
	sort.SliceStable(out, func(a, b int) bool { return rank(out[a]) < rank(out[b]) })
	return out
}

// read returns the values of all MSRs, and drops those that KVM refuses.
func (l *MSRList) read(v *kvm.VCPU) ([]MSR, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	buf := make([]kvm.MSR, len(l.indices))
	for i, index := range l.indices {
		buf[i].Index = index
	}
	for from := 0; from < len(buf); {
		err := v.GetMSRs(buf[from:])
		if err == nil {
			break
		}
		var refused *kvm.MSRError
		if !errors.As(err, &refused) {
			return nil, err
		}
		from += refused.Done
		l.log.Debugf("%v: it is not part of the saved state", err)
		buf = append(buf[:from], buf[from+1:]...)
		l.indices = append(l.indices[:from], l.indices[from+1:]...)
	}
	out := make([]MSR, len(buf))
	for i, m := range buf {
		out[i] = MSR(m)
	}
	return out, nil
}

// write loads values in the given order, without those that KVM refuses.
func (l *MSRList) write(v *kvm.VCPU, values []MSR) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	buf := make([]kvm.MSR, len(values))
	for i, m := range values {
		buf[i] = kvm.MSR(m)
	}
	for len(buf) > 0 {
		err := v.SetMSRs(buf)
		if err == nil {
			return nil
		}
		var refused *kvm.MSRError
		if !errors.As(err, &refused) {
			return err
		}
		if !l.refused[refused.Index] {
			l.log.Debugf("%v (value 0x%x): left out", err, buf[refused.Done].Value)
			l.refused[refused.Index] = true
		}
		buf = buf[refused.Done+1:]
	}
	return nil
}
