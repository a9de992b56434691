// Package wire is the NBD protocol as it is on the wire: its numbers, its
// messages, and the negotiation of a client. It implements doc/proto.md of the
// NBD project, fixed newstyle with structured replies.
package wire

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Magic numbers.
const (
	Magic           = 0x4e42444d41474943 // "NBDMAGIC"
	OptMagic        = 0x49484156454F5054 // "IHAVEOPT"
	OldMagic        = 0x00420281861253   // of servers of the old style
	OptReplyMagic   = 0x0003e889045565a9
	RequestMagic    = 0x25609513
	SimpleMagic     = 0x67446698
	StructuredMagic = 0x668e33ef
)

// Handshake flags, of servers and of clients alike.
const (
	FixedNewstyle = 1 << 0
	NoZeroes      = 1 << 1
)

// Option is what a client asks for in the negotiation.
type Option uint32

// The options.
const (
	OptExportName      Option = 1
	OptAbort           Option = 2
	OptList            Option = 3
	OptStartTLS        Option = 5
	OptInfo            Option = 6
	OptGo              Option = 7
	OptStructuredReply Option = 8
	OptListMetaContext Option = 9
	OptSetMetaContext  Option = 10
)

var optNames = map[Option]string{
	OptExportName: "export name", OptAbort: "abort", OptList: "list", OptStartTLS: "starttls", OptInfo: "info",
	OptGo: "go", OptStructuredReply: "structured reply", OptListMetaContext: "list meta context",
	OptSetMetaContext: "set meta context",
}

func (o Option) String() string {
	if n := optNames[o]; n != "" {
		return n
	}
	return "<unknown>"
}

// Rep is the type of a reply to an option.
type Rep uint32

// The replies; those with the highest bit set are errors.
const (
	RepAck         Rep = 1
	RepServer      Rep = 2
	RepInfo        Rep = 3
	RepMetaContext Rep = 4

	repError           Rep = 1 << 31
	RepErrUnsup            = repError + 1
	RepErrPolicy           = repError + 2
	RepErrInvalid          = repError + 3
	RepErrPlatform         = repError + 4
	RepErrTLSReqd          = repError + 5
	RepErrUnknown          = repError + 6
	RepErrShutdown         = repError + 7
	RepErrBlockSizeReq     = repError + 8
	RepErrTooBig           = repError + 9
)

// IsError reports whether the reply is an error.
func (r Rep) IsError() bool { return r&repError != 0 }

// Types of information in RepInfo.
const (
	InfoExport      = 0
	InfoName        = 1
	InfoDescription = 2
	InfoBlockSize   = 3
)

// Flags of an export.
const (
	FlagHasFlags = 1 << iota
	FlagReadOnly
	FlagFlush
	FlagFUA
	FlagRotational
	FlagTrim
	FlagWriteZeroes
	FlagDF
	FlagMultiConn
	FlagResize
	FlagCache
	FlagFastZero
)

// Command is what a request asks for.
type Command uint16

// The commands.
const (
	CmdRead Command = iota
	CmdWrite
	CmdDisc
	CmdFlush
	CmdTrim
	CmdCache
	CmdWriteZeroes
	CmdBlockStatus
)

// Flags of commands.
const (
	CmdFlagFUA = 1 << iota
	CmdFlagNoHole
	CmdFlagDF
	CmdFlagReqOne
	CmdFlagFastZero
)

// Chunk is the type of a chunk of a structured reply.
type Chunk uint16

// The chunks; those with the highest bit set are errors.
const (
	ChunkNone        Chunk = 0
	ChunkOffsetData  Chunk = 1
	ChunkOffsetHole  Chunk = 2
	ChunkBlockStatus Chunk = 5

	chunkError       Chunk = 1 << 15
	ChunkError             = chunkError + 1
	ChunkErrorOffset       = chunkError + 2
)

// IsError reports whether the chunk is an error.
func (c Chunk) IsError() bool { return c&chunkError != 0 }

// ChunkDone is the flag of the last chunk of a reply.
const ChunkDone = 1

// Meta contexts, and the flags of the first in block status.
const (
	BaseAllocation = "base:allocation"
	DirtyBitmap    = "qemu:dirty-bitmap:" // and the bitmap's name

	StateHole = 1 << 0
	StateZero = 1 << 1
)

// Sizes on the wire, and limits.
const (
	RequestSize    = 28
	SimpleSize     = 16
	StructuredSize = 20

	MaxName   = 4096     // bytes of an export's name or a meta context's
	MaxString = 4096     // bytes of other texts
	MaxData   = 32 << 20 // bytes that a request moves, unless the export says less
)

// PutRequest puts the header of a request into p.
func PutRequest(p *[RequestSize]byte, flags uint16, cmd Command, cookie, off uint64, n uint32) {
	be := binary.BigEndian
	be.PutUint32(p[0:], RequestMagic)
	be.PutUint16(p[4:], flags)
	be.PutUint16(p[6:], uint16(cmd))
	be.PutUint64(p[8:], cookie)
	be.PutUint64(p[16:], off)
	be.PutUint32(p[24:], n)
}

// errnos are the error numbers of the protocol: those of Linux, but only these.
var errnos = []unix.Errno{
	unix.EPERM, unix.EIO, unix.ENOMEM, unix.EINVAL, unix.ENOSPC, unix.EOVERFLOW, unix.ENOTSUP, unix.ESHUTDOWN,
}

// FromErrno returns the error number on the wire for one of the system.
func FromErrno(e unix.Errno) uint32 {
	switch e {
	case 0:
		return 0
	case unix.EROFS:
		return uint32(unix.EPERM)
	case unix.EFBIG, unix.EDQUOT:
		return uint32(unix.ENOSPC)
	}
	for _, x := range errnos {
		if e == x {
			return uint32(e)
		}
	}
	return uint32(unix.EIO)
}

// ToErrno returns the error number of the system for one on the wire; what the
// protocol does not know is EINVAL.
func ToErrno(e uint32) unix.Errno {
	if e == 0 {
		return 0
	}
	for _, x := range errnos {
		if uint32(x) == e {
			return x
		}
	}
	return unix.EINVAL
}
