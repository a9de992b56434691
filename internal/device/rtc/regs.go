// Package rtc is the PC's real-time clock with its CMOS memory ("mc146818rtc").
// It follows Motorola's MC146818A data sheet; the century is register 0x32.
package rtc

// Registers.
const (
	regSeconds      = 0x00
	regSecondsAlarm = 0x01
	regMinutes      = 0x02
	regMinutesAlarm = 0x03
	regHours        = 0x04
	regHoursAlarm   = 0x05
	regWeekday      = 0x06 // 1 is Sunday
	regDay          = 0x07
	regMonth        = 0x08
	regYear         = 0x09
	regA            = 0x0a
	regB            = 0x0b
	regC            = 0x0c
	regD            = 0x0d
	regCentury      = 0x32
	regCentury2     = 0x37 // the same on IBM's PS/2

	cmosSize = 128
)

// Register A.
const (
	aRate       = 0x0f
	aDivider    = 0x70
	aDividerOff = 0x60 // both bits: the divider is held in reset
	aUIP        = 0x80 // an update is in progress, or near
	aReset      = 0x26 // 32768 Hz crystal, 1024 Hz periodic
)

// Register B.
const (
	bDSE  = 0x01
	b24   = 0x02
	bDM   = 0x04 // binary, not BCD
	bSQWE = 0x08
	bUIE  = 0x10
	bAIE  = 0x20
	bPIE  = 0x40
	bSet  = 0x80
)

// Register C. The enabling bits of register B are in the same places.
const (
	cUF   = 0x10
	cAF   = 0x20
	cPF   = 0x40
	cIRQF = 0x80

	cFlags = cUF | cAF | cPF
)

const dVRT = 0x80 // valid RAM and time: the battery is good

const (
	hourPM    = 0x80
	alarmAny  = 0xc0 // both bits in an alarm register: any value matches
	indexMask = 0x7f // bit 7 of the index port masks the NMI
)
