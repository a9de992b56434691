package kvm

import (
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// Exit is why KVM_RUN returned.
type Exit uint32

// Reasons for an exit. ExitAgain is this package's own: KVM_RUN failed with
// EAGAIN because the vCPU's multiprocessing state changed, and is to be called
// again.
const (
	ExitUnknown       Exit = 0
	ExitException     Exit = 1
	ExitIO            Exit = 2
	ExitHypercall     Exit = 3
	ExitDebug         Exit = 4
	ExitHLT           Exit = 5
	ExitMMIO          Exit = 6
	ExitIRQWindowOpen Exit = 7
	ExitShutdown      Exit = 8
	ExitFailEntry     Exit = 9
	ExitIntr          Exit = 10 // a signal or immediate_exit
	ExitSetTPR        Exit = 11
	ExitTPRAccess     Exit = 12
	ExitInternalError Exit = 17
	ExitSystemEvent   Exit = 24
	ExitIOAPICEOI     Exit = 26
	ExitRDMSR         Exit = 29
	ExitWRMSR         Exit = 30
	ExitDirtyRingFull Exit = 31
	ExitBusLock       Exit = 33
	ExitNotify        Exit = 37
	ExitMemoryFault   Exit = 39
	ExitAgain         Exit = 1 << 31
)

var exitNames = map[Exit]string{
	ExitUnknown: "unknown", ExitException: "exception", ExitIO: "io", ExitHypercall: "hypercall",
	ExitDebug: "debug", ExitHLT: "hlt", ExitMMIO: "mmio", ExitIRQWindowOpen: "irq window open",
	ExitShutdown: "shutdown", ExitFailEntry: "fail entry", ExitIntr: "interrupted",
	ExitSetTPR: "set tpr", ExitTPRAccess: "tpr access", ExitInternalError: "internal error",
	ExitSystemEvent: "system event", ExitIOAPICEOI: "ioapic eoi", ExitRDMSR: "rdmsr",
	ExitWRMSR: "wrmsr", ExitDirtyRingFull: "dirty ring full", ExitBusLock: "bus lock",
	ExitNotify: "notify", ExitMemoryFault: "memory fault", ExitAgain: "again",
}

// String returns a word for the reason.
func (e Exit) String() string {
	if s, ok := exitNames[e]; ok {
		return s
	}
	return "exit " + strconv.FormatUint(uint64(e), 10)
}

// Offsets in struct kvm_run.
const (
	runExitReason = 8
	runReady      = 12
	runIF         = 13
	runFlags      = 14
	runCR8        = 16
	runAPICBase   = 24
	runUnion      = 32
	runMinBytes   = 4096 + 4096 // the structure's page and the one of PIO data

	immediateExit    = 1 << 8 // in the first word
	requestIRQWindow = 1 << 0
)

// Run enters the guest until something needs attention. An interruption by a
// signal or by immediate exit is ExitIntr; err is for what is really wrong.
// Once the reason is ExitIO or ExitMMIO, the next Run first completes the
// access with the data found in the shared page. Run does not allocate unless
// it fails.
func (v *VCPU) Run() (Exit, error) {
	// Not RawSyscall: the processor slot must be free for others meanwhile.
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), uintptr(reqRun), 0)
	switch e {
	case 0:
		return Exit(v.u32(runExitReason)), nil
	case unix.EINTR:
		return ExitIntr, nil
	case unix.EAGAIN:
		return ExitAgain, nil
	}
	return ExitUnknown, v.fail(reqRun, e)
}

// SetImmediateExit makes the next Run, or one that is just beginning, complete
// what is pending and return ExitIntr without entering the guest. It may be
// called from any goroutine and stays on until ClearImmediateExit.
func (v *VCPU) SetImmediateExit() { v.word0.Or(immediateExit) }

// ClearImmediateExit undoes SetImmediateExit.
func (v *VCPU) ClearImmediateExit() { v.word0.And(^uint32(immediateExit)) }

// SetRequestInterruptWindow asks for ExitIRQWindowOpen when the guest can take
// an interrupt. It has no use with in-kernel interrupt controllers.
func (v *VCPU) SetRequestInterruptWindow(on bool) {
	if on {
		v.word0.Or(requestIRQWindow)
	} else {
		v.word0.And(^uint32(requestIRQWindow))
	}
}

func (v *VCPU) u32(off int) uint32 { return binary.LittleEndian.Uint32(v.run[off : off+4]) }
func (v *VCPU) u64(off int) uint64 { return binary.LittleEndian.Uint64(v.run[off : off+8]) }

// ReadyForInterruptInjection reports whether the guest could take an interrupt
// at the last exit.
func (v *VCPU) ReadyForInterruptInjection() bool { return v.run[runReady] != 0 }

// InterruptFlag reports whether the guest's interrupt flag was set at the last exit.
func (v *VCPU) InterruptFlag() bool { return v.run[runIF] != 0 }

// InSMM reports whether the vCPU was in system management mode at the last exit.
func (v *VCPU) InSMM() bool { return v.run[runFlags]&1 != 0 }

// CR8 returns the task priority at the last exit.
func (v *VCPU) CR8() uint64 { return v.u64(runCR8) }

// APICBase returns IA32_APIC_BASE at the last exit.
func (v *VCPU) APICBase() uint64 { return v.u64(runAPICBase) }

// IO describes an ExitIO.
type IO struct {
	Port  uint16
	Size  int  // of one access: 1, 2 or 4 bytes
	Count int  // how many; more than one for string instructions
	Out   bool // the guest writes
}

// IO returns the port access of an ExitIO, and its data (Size*Count bytes, in
// the shared page) to read or to fill in. A description that does not fit the
// page gives no data and a zero Count.
func (v *VCPU) IO() (IO, []byte) {
	w := v.u64(runUnion)
	off := v.u64(runUnion + 8)
	io := IO{
		Out:   w&0xff == 1,
		Size:  int(w >> 8 & 0xff),
		Port:  uint16(w >> 16),
		Count: int(w >> 32),
	}
	n := uint64(io.Size) * uint64(io.Count)
	if off > uint64(len(v.run)) || n > uint64(len(v.run))-off {
		io.Count = 0
		return io, nil
	}
	return io, v.run[off : off+n]
}

// MMIO describes an ExitMMIO.
type MMIO struct {
	Addr  uint64
	Write bool
}

// MMIO returns the memory access of an ExitMMIO, and its data (1 to 8 bytes, in
// the shared page) to read or to fill in.
func (v *VCPU) MMIO() (MMIO, []byte) {
	w := v.u64(runUnion + 16)
	n := min(int(uint32(w)), 8)
	return MMIO{Addr: v.u64(runUnion), Write: w>>32&0xff != 0}, v.run[runUnion+8 : runUnion+8+n]
}

// InternalError describes an ExitInternalError: KVM could not go on.
type InternalError struct {
	Suberror uint32
	NData    int
	Data     [16]uint64
}

// Suberrors of InternalError.
const (
	InternalErrorEmulation      = 1 // an instruction that KVM does not emulate
	InternalErrorSimulEx        = 2
	InternalErrorDeliveryEvent  = 3
	InternalErrorUnexpectedExit = 4
)

// InternalError returns the description of an ExitInternalError.
func (v *VCPU) InternalError() (e InternalError) {
	e.Suberror = v.u32(runUnion)
	e.NData = v.exitData(&e.Data)
	return e
}

// Instruction returns the bytes that KVM could not emulate, if it told them.
func (e *InternalError) Instruction() []byte {
	if e.Suberror != InternalErrorEmulation || e.NData < 3 || e.Data[0]&1 == 0 {
		return nil
	}
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], e.Data[1])
	binary.LittleEndian.PutUint64(b[8:], e.Data[2])
	return b[1 : 1+min(int(b[0]), 15)]
}

// SystemEvent describes an ExitSystemEvent.
type SystemEvent struct {
	Type  uint32
	NData int
	Data  [16]uint64
}

// Types of SystemEvent.
const (
	SystemEventShutdown = 1
	SystemEventReset    = 2
	SystemEventCrash    = 3
)

// SystemEvent returns the description of an ExitSystemEvent.
func (v *VCPU) SystemEvent() (e SystemEvent) {
	e.Type = v.u32(runUnion)
	e.NData = v.exitData(&e.Data)
	return e
}

// exitData copies the numbers that come with some exits and returns how many.
func (v *VCPU) exitData(to *[16]uint64) (n int) {
	n = min(int(v.u32(runUnion+4)), len(to))
	for i := range n {
		to[i] = v.u64(runUnion + 8 + 8*i)
	}
	return n
}

// FailEntry describes an ExitFailEntry: the processor refused the guest's state.
type FailEntry struct {
	Reason uint64
	CPU    uint32
}

// FailEntry returns the description of an ExitFailEntry.
func (v *VCPU) FailEntry() FailEntry {
	return FailEntry{Reason: v.u64(runUnion), CPU: v.u32(runUnion + 8)}
}

// DebugExit describes an ExitDebug.
type DebugExit struct {
	Exception uint32 // 1 (#DB) or 3 (#BP)
	PC        uint64
	DR6, DR7  uint64
}

// DebugExit returns the description of an ExitDebug.
func (v *VCPU) DebugExit() DebugExit {
	return DebugExit{
		Exception: v.u32(runUnion), PC: v.u64(runUnion + 8),
		DR6: v.u64(runUnion + 16), DR7: v.u64(runUnion + 24),
	}
}
