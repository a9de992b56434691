package kvm

import (
	"fmt"
	"strings"
)

// Handler serves a vCPU's exits. Its methods run on the vCPU's thread, between
// two entries into the guest; other vCPUs' handlers run at the same time. They
// may call Thread.RequestPause, but nothing that waits for a vCPU.
type Handler interface {
	// PortIn and PortOut are one access of 1, 2 or 4 bytes; a string
	// instruction makes several. Values have no bits above their size.
	PortIn(port uint16, size int) uint32
	PortOut(port uint16, size int, value uint32)
	// MMIORead and MMIOWrite are one access of 1, 2, 4 or 8 bytes, not
	// necessarily aligned, little-endian.
	MMIORead(addr uint64, size int) uint64
	MMIOWrite(addr uint64, size int, value uint64)
	// Stopped tells that the vCPU cannot or shall not go on. It has paused
	// itself and stays so until Thread.Resume. s is valid during the call.
	Stopped(s *Stop)
}

// StopKind is why a vCPU stopped by itself.
type StopKind uint8

// The kinds of stop.
const (
	StopShutdown      StopKind = iota // triple fault, or the guest's state makes further running impossible
	StopInternalError                 // KVM met something that it cannot do
	StopFailEntry                     // the processor refused the guest's state
	StopDebug                         // a breakpoint or single step of a debugger
	StopSystemEvent                   // asked for through a paravirtual interface
	StopUnexpected                    // an exit that was not asked for
	StopError                         // KVM_RUN failed
)

// Stop tells why a vCPU stopped by itself.
type Stop struct {
	Kind     StopKind
	Exit     Exit
	Internal InternalError // of StopInternalError
	Fail     FailEntry     // of StopFailEntry
	Debug    DebugExit     // of StopDebug
	Event    SystemEvent   // of StopSystemEvent
	Err      error         // of StopError
}

// String describes the stop for a log.
func (s *Stop) String() string {
	switch s.Kind {
	case StopShutdown:
		return "triple fault"
	case StopInternalError:
		return s.Internal.String()
	case StopFailEntry:
		return fmt.Sprintf("KVM: entry failed, hardware error 0x%x on host CPU %d", s.Fail.Reason, s.Fail.CPU)
	case StopDebug:
		return fmt.Sprintf("debug exception %d at 0x%x, DR6 0x%x", s.Debug.Exception, s.Debug.PC, s.Debug.DR6)
	case StopSystemEvent:
		return fmt.Sprintf("KVM: system event %d", s.Event.Type)
	case StopError:
		return s.Err.Error()
	}
	return "KVM: unexpected exit: " + s.Exit.String()
}

// String describes the error for a log.
func (e *InternalError) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "KVM internal error. Suberror: %d", e.Suberror)
	if insn := e.Instruction(); insn != nil {
		fmt.Fprintf(&b, " (cannot emulate % x)", insn)
		return b.String()
	}
	for i := range e.NData {
		fmt.Fprintf(&b, "\nextra data[%d]: 0x%016x", i, e.Data[i])
	}
	return b.String()
}

// dispatch serves one exit. It reports whether the access that it served is
// still to be completed by the next entry, and whether the vCPU must stop.
func dispatch(v *VCPU, h Handler, exit Exit, s *Stop) (pending, stop bool) {
	traceExit.Emit(v.id, exit)
	switch exit {
	case ExitIO:
		servePort(v, h)
		return true, false
	case ExitMMIO:
		serveMMIO(v, h)
		return true, false
	case ExitIntr, ExitAgain, ExitIRQWindowOpen, ExitSetTPR, ExitTPRAccess, ExitBusLock, ExitNotify:
		return false, false
	}
	*s = Stop{Exit: exit}
	switch exit {
	case ExitShutdown:
		s.Kind = StopShutdown
	case ExitInternalError:
		s.Kind = StopInternalError
		s.Internal = v.InternalError()
	case ExitFailEntry:
		s.Kind = StopFailEntry
		s.Fail = v.FailEntry()
	case ExitDebug:
		s.Kind = StopDebug
		s.Debug = v.DebugExit()
	case ExitSystemEvent:
		s.Kind = StopSystemEvent
		s.Event = v.SystemEvent()
	default:
		s.Kind = StopUnexpected
	}
	return false, true
}

func servePort(v *VCPU, h Handler) {
	io, data := v.IO()
	if traceIO.On() {
		traceIO.Emit(v.id, io.Port, io.Size, direction(io.Out))
	}
	switch io.Size {
	case 1, 2, 4:
	default:
		return
	}
	for ; len(data) >= io.Size; data = data[io.Size:] {
		if io.Out {
			h.PortOut(io.Port, io.Size, uint32(getLE(data[:io.Size])))
		} else {
			putLE(data[:io.Size], uint64(h.PortIn(io.Port, io.Size)))
		}
	}
}

func serveMMIO(v *VCPU, h Handler) {
	m, data := v.MMIO()
	if traceMMIO.On() {
		traceMMIO.Emit(v.id, m.Addr, len(data), direction(m.Write))
	}
	// An access that crosses a page arrives in parts of any length up to 8.
	for len(data) > 0 {
		n := 1
		for 2*n <= len(data) {
			n *= 2
		}
		if m.Write {
			h.MMIOWrite(m.Addr, n, getLE(data[:n]))
		} else {
			putLE(data[:n], h.MMIORead(m.Addr, n))
		}
		m.Addr += uint64(n)
		data = data[n:]
	}
}

// direction names an access for a trace.
func direction(write bool) string {
	if write {
		return "write"
	}
	return "read"
}

func getLE(b []byte) (v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

func putLE(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v)
		v >>= 8
	}
}
