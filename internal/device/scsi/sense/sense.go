// Package sense is what a SCSI device says of a command that it has not carried out
// (SPC-4, section 4.5 and annex D).
package sense

// Code is a sense key with its additional sense code and qualifier. The zero value
// says that there is nothing to say.
type Code struct{ Key, ASC, ASCQ byte }

// Sense keys.
const (
	KeyNotReady       = 0x2
	KeyMediumError    = 0x3
	KeyHardwareError  = 0x4
	KeyIllegalRequest = 0x5
	KeyUnitAttention  = 0x6
	KeyDataProtect    = 0x7
	KeyAborted        = 0xb
)

// What our devices say.
var (
	None = Code{}

	NoMedium            = Code{KeyNotReady, 0x3a, 0}
	NotReadyLocked      = Code{KeyNotReady, 0x53, 0}
	UnrecoveredRead     = Code{KeyMediumError, 0x11, 0}
	IOFailure           = Code{KeyAborted, 0, 6} // of the host, which may go well next time
	InternalFailure     = Code{KeyHardwareError, 0x44, 0}
	ParameterListLength = Code{KeyIllegalRequest, 0x1a, 0}
	InvalidOpcode       = Code{KeyIllegalRequest, 0x20, 0}
	LBAOutOfRange       = Code{KeyIllegalRequest, 0x21, 0}
	InvalidField        = Code{KeyIllegalRequest, 0x24, 0}
	LUNNotSupported     = Code{KeyIllegalRequest, 0x25, 0}
	InvalidParameter    = Code{KeyIllegalRequest, 0x26, 0}
	IncompatibleFormat  = Code{KeyIllegalRequest, 0x30, 0}
	SavingUnsupported   = Code{KeyIllegalRequest, 0x39, 0}
	RemovalPrevented    = Code{KeyIllegalRequest, 0x53, 2}
	IllegalMode         = Code{KeyIllegalRequest, 0x64, 0}
	MediumChanged       = Code{KeyUnitAttention, 0x28, 0} // the medium may have changed
	PowerOn             = Code{KeyUnitAttention, 0x29, 0} // power on, reset, or bus device reset
	CapacityChanged     = Code{KeyUnitAttention, 0x2a, 9}
	MediumGone          = Code{KeyUnitAttention, 0x3a, 0}
	LUNsChanged         = Code{KeyUnitAttention, 0x3f, 0x0e}
	WriteProtected      = Code{KeyDataProtect, 0x27, 0}
	SpaceAllocation     = Code{KeyDataProtect, 0x27, 7} // the host's disk is full
)

// FixedSize is the size of sense data in the fixed format.
const FixedSize = 18

// PutFixed puts the code in the fixed format (section 4.5.3), and returns its size.
func (c Code) PutFixed(p []byte) int {
	clear(p[:FixedSize])
	p[0], p[2], p[7], p[12], p[13] = 0x70, c.Key, FixedSize-8, c.ASC, c.ASCQ
	return FixedSize
}

// PutDescriptor puts the code in the descriptor format (section 4.5.2), without
// descriptors, and returns its size.
func (c Code) PutDescriptor(p []byte) int {
	clear(p[:8])
	p[0], p[1], p[2], p[3] = 0x72, c.Key, c.ASC, c.ASCQ
	return 8
}
