package serial

import (
	"fmt"

	"govmd/internal/state"
)

// saved is the saved form of a UART.
type saved struct {
	Divisor        uint16 `cbor:"divisor"`
	IER            uint8  `cbor:"ier"`
	FCR            uint8  `cbor:"fcr"`
	LCR            uint8  `cbor:"lcr"`
	MCR            uint8  `cbor:"mcr"`
	LSR            uint8  `cbor:"lsr"`
	MSR            uint8  `cbor:"msr"`
	SCR            uint8  `cbor:"scr"`
	Lines          uint8  `cbor:"lines"`
	THRPending     bool   `cbor:"thr-pending"`
	TimeoutPending bool   `cbor:"timeout-pending"`
	RBR            uint8  `cbor:"rbr"` // what was read last, while RX is empty
	RX             []byte `cbor:"rx"`
	RXErrors       []byte `cbor:"rx-errors"` // LSR bits, one for each byte of RX
	TX             []byte `cbor:"tx"`
	Timeout        int64  `cbor:"timeout"` // deadline, -1 for none
}

// States implements device.Stater.
func (u *UART) States() []state.Entry {
	return []state.Entry{state.Of("", 1, u.save, u.load)}
}

func (u *UART) save() saved {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := &u.regs
	s := saved{
		Divisor: r.divisor, IER: r.ier, FCR: r.fcr, LCR: r.lcr, MCR: r.mcr, LSR: r.lsr, MSR: r.msr,
		SCR: r.scr, Lines: r.lines, THRPending: r.thrPending, TimeoutPending: r.timeoutPending,
		TX: append([]byte{}, r.tx[:r.txLen]...),
		RX: []byte{}, RXErrors: []byte{},
		Timeout: -1,
	}
	if r.rxLen == 0 {
		s.RBR = r.rx[0].data
	}
	for _, c := range r.rx[:r.rxLen] {
		s.RX = append(s.RX, c.data)
		s.RXErrors = append(s.RXErrors, c.err)
	}
	if t, armed := u.timeout.Deadline(); armed {
		s.Timeout = t
	}
	return s
}

func (u *UART) load(s *saved) error {
	r := registers{
		divisor: s.Divisor, ier: s.IER & ierMask, fcr: s.FCR & fcrKept, lcr: s.LCR, mcr: s.MCR & mcrMask,
		lsr: s.LSR & (lsrErrors | lsrTHRE | lsrTEMT), msr: s.MSR, scr: s.SCR, lines: s.Lines & msrLines,
		thrPending: s.THRPending, timeoutPending: s.TimeoutPending,
	}
	switch {
	case len(s.RX) > r.rxSize():
		return fmt.Errorf("receiver holds %d bytes, at most %d fit", len(s.RX), r.rxSize())
	case len(s.RXErrors) != len(s.RX):
		return fmt.Errorf("%d error marks for %d received bytes", len(s.RXErrors), len(s.RX))
	case len(s.TX) > fifoSize:
		return fmt.Errorf("transmitter holds %d bytes, at most %d fit", len(s.TX), fifoSize)
	}
	r.rx[0].data = s.RBR
	for i, b := range s.RX {
		r.rx[i] = rxByte{b, s.RXErrors[i] & lsrErrors}
	}
	r.rxLen = len(s.RX)
	r.txLen = copy(r.tx[:], s.TX)

	u.mu.Lock()
	defer u.mu.Unlock()
	u.regs = r
	u.timeout.Stop()
	if s.Timeout >= 0 {
		u.timeout.Set(s.Timeout)
	}
	u.setParams()
	u.update()
	return nil
}
