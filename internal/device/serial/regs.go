// Package serial is the 16550A UART: the PC's serial port ("isa-serial") and a
// core for other buses. It follows National Semiconductor's PC16550D data sheet.
package serial

// Register offsets. The first two are the divisor latch while LCR's DLAB is set.
const (
	regData = iota // RBR to read, THR to write
	regIER
	regIIR // FCR to write
	regLCR
	regMCR
	regLSR
	regMSR
	regSCR

	// NumRegs is how many ports a UART takes.
	NumRegs = 8
)

// Interrupt enable register.
const (
	ierRDI  = 0x01 // received data, and time-out
	ierTHRI = 0x02 // transmitter holding register empty
	ierRLSI = 0x04 // receiver line status
	ierMSI  = 0x08 // modem status
	ierMask = 0x0f
)

// Interrupt identification register: what is pending, by priority.
const (
	iirNone    = 0x01
	iirRLSI    = 0x06
	iirTimeout = 0x0c
	iirRDI     = 0x04
	iirTHRI    = 0x02
	iirMSI     = 0x00
	iirFIFO    = 0xc0 // the FIFOs are on
)

// FIFO control register.
const (
	fcrEnable  = 0x01
	fcrClearRX = 0x02
	fcrClearTX = 0x04
	fcrKept    = 0xc9 // enable, DMA mode and trigger level stay; the clear bits do not
)

// Line control register.
const (
	lcrStop2  = 0x04
	lcrParity = 0x08
	lcrEven   = 0x10
	lcrBreak  = 0x40
	lcrDLAB   = 0x80
)

// Modem control register.
const (
	mcrDTR  = 0x01
	mcrRTS  = 0x02
	mcrOut1 = 0x04
	mcrOut2 = 0x08
	mcrLoop = 0x10
	mcrMask = 0x1f
)

// Line status register.
const (
	lsrDR      = 0x01 // data ready
	lsrOE      = 0x02 // overrun
	lsrPE      = 0x04 // parity error
	lsrFE      = 0x08 // framing error
	lsrBI      = 0x10 // break
	lsrTHRE    = 0x20 // transmitter holding register empty
	lsrTEMT    = 0x40 // transmitter empty
	lsrFIFOErr = 0x80 // an error somewhere in the receiver FIFO

	lsrErrors = lsrOE | lsrPE | lsrFE | lsrBI
)

// Modem status register: the lines in the upper half, what has changed since
// the last read in the lower half.
const (
	msrDCTS = 0x01
	msrDDSR = 0x02
	msrTERI = 0x04 // the end of a ring
	msrDDCD = 0x08

	CTS = 0x10 // clear to send
	DSR = 0x20 // data set ready
	RI  = 0x40 // ring indicator
	DCD = 0x80 // data carrier detect

	msrDelta = 0x0f
	msrLines = 0xf0
)

// fifoSize is the depth of either FIFO.
const fifoSize = 16

// triggers are the receiver FIFO's interrupt levels, by FCR bits 7:6.
var triggers = [4]int{1, 4, 8, 14}
