package block

import (
	"context"
)

// Limits are what a driver's I/O methods take. The zero value of a number means
// that there is no limit.
type Limits struct {
	Align       int   // offsets and lengths of reads and writes are multiples of it: a power of two, at least 1
	MemAlign    int   // what memory should be aligned to for speed; drivers take any
	MaxTransfer int   // bytes
	ZeroAlign   int   // what PwriteZeroes takes; heads and tails are written
	MaxZeroes   int64 // bytes
	DiscAlign   int   // what Pdiscard takes; heads and tails are left alone
	MaxDiscard  int64 // bytes
	OptTransfer int   // bytes: what is best

	WriteFlags Flags // that Pwritev takes, of FUA, Unchanged and Compressed
	ZeroFlags  Flags // that PwriteZeroes takes, of FUA, MayUnmap, NoFallback and Unchanged
}

// Driver is the code behind one open node. I/O methods are called by any number
// of goroutines at once, with offsets and lengths that are within Limits and not
// negative. They return error numbers (Err…). Reading beyond the end
// gives zeroes; writing beyond the end is asked of drivers that can grow only.
//
// What else a driver can do it says by the interfaces below.
type Driver interface {
	// Length returns the size in bytes. It is called often and is cheap.
	Length() (int64, error)
	// Limits is called once after opening and after a reopen.
	Limits() Limits
	Preadv(off int64, v Vec, f Flags) error
	// Pwritev is not called on a node that is read-only.
	Pwritev(off int64, v Vec, f Flags) error
	// Flush makes what has been written stable. A node's flush calls it before
	// that of its children with data or metadata, which it need not call.
	Flush() error
	// Close ends the driver; nothing is in flight. Children are released after it.
	Close()
}

// Zeroer writes zeroes without being given them.
type Zeroer interface {
	// PwriteZeroes returns ErrUnsupp where writing is the only way.
	PwriteZeroes(off, n int64, f Flags) error
}

// Discarder gives space back. What was discarded may read as anything.
type Discarder interface {
	Pdiscard(off, n int64) error
}

// Statuser says what is known of a range.
type Statuser interface {
	// BlockStatus describes the bytes from off on: at most n of them, all alike.
	// With want lacking StatusZero only allocation matters.
	BlockStatus(off, n int64, want StatusFlags) (Status, error)
}

// Truncater changes the size.
type Truncater interface {
	// Truncate sets the size; exact is false when a larger file will do (a host
	// device). f may hold ZeroWrite: what is new must read as zeroes.
	Truncate(ctx context.Context, size int64, exact bool, p Prealloc, f Flags) error
}

// RangeCopier copies within the host's storage. The source is asked: a driver
// whose data is a child's passes it on (Child.CopyRangeTo), the protocol at the
// bottom has the target say where the data goes (Node.CopyTo) and copies.
type RangeCopier interface {
	CopyRange(srcOff int64, dst *Node, dstOff, n int64, f Flags) error
}

// CopyTargeter is a driver whose data is a child's, as the target of CopyRange: it
// says where n bytes at off go, all of them, or returns ErrUnsupp.
type CopyTargeter interface {
	CopyRangeTarget(off, n int64) (c *Child, childOff int64, err error)
}

// Reopener takes other options while open.
type Reopener interface {
	// PrepareReopen checks the new options and gets ready, without an effect yet.
	PrepareReopen(a *ReopenArgs) error
	CommitReopen(a *ReopenArgs)
	AbortReopen(a *ReopenArgs)
}

// Inactivator has caches or locks that another process must not see us hold,
// as while a migration hands an image over.
type Inactivator interface {
	Inactivate() error // write back, then forget
	Activate(ctx context.Context) error
}

// Drainer has work of its own beside requests.
type Drainer interface {
	DrainBegin() // start nothing new; must not wait
	DrainWait()  // wait for what is under way
	DrainEnd()
}

// Permitter takes part in permissions: a file locks itself against other processes.
type Permitter interface {
	CheckPerm(perm, shared Perm) error // gets ready; SetPerm or AbortPerm follows
	SetPerm(perm, shared Perm)
	AbortPerm()
}

// ChildPermitter decides what it needs of its children. Without it the role
// decides (DefaultChildPerm).
type ChildPermitter interface {
	ChildPerm(c *Child, role Role, perm, shared Perm) (Perm, Perm)
}

// Checker examines and repairs an image.
type Checker interface {
	Check(ctx context.Context, fix Fix) (CheckResult, error)
}

// Fix says what a check repairs.
type Fix uint8

// What a check repairs.
const (
	FixLeaks Fix = 1 << iota
	FixErrors
)

// CheckResult is what a check has found.
type CheckResult struct {
	Corruptions, Leaks             int64
	CorruptionsFixed, LeaksFixed   int64
	CheckErrors                    int64 // that kept it from checking
	TotalClusters, Allocated       int64
	Fragmented, CompressedClusters int64
	ImageEndOffset                 int64
}

// Snapshot describes an internal snapshot.
type Snapshot struct {
	ID, Name            string
	VMStateSize         int64
	DateSec             int64 // since 1970
	DateNsec            int32
	VMClockNsec         int64
	ICount              int64 // -1: unknown
	DiskSize            int64
	ExtraData, RawExtra []byte
}

// Snapshotter has internal snapshots.
type Snapshotter interface {
	Snapshots() []Snapshot
	CreateSnapshot(ctx context.Context, s *Snapshot) error // sets s.ID when empty
	DeleteSnapshot(ctx context.Context, id string) error
	ApplySnapshot(ctx context.Context, id string) error // the disk goes back to it
}

// VMStater keeps the state of a machine beside the disk.
type VMStater interface {
	SaveVMState(off int64, v Vec) error
	LoadVMState(off int64, v Vec) error
}

// BackingChanger can record another backing file in the image.
type BackingChanger interface {
	// ChangeBacking records; the graph is not touched. "" records that there is none.
	ChangeBacking(ctx context.Context, file, format string) error
}

// Emptier can forget all that an image holds itself, so that it shows its backing
// file: what commit does to the image in the end.
type Emptier interface {
	MakeEmpty(ctx context.Context) error
}

// Amender changes options of an existing image.
type Amender interface {
	// Amend takes what DecodeAmend returns.
	Amend(ctx context.Context, opts any, force bool, progress func(done, total int64)) error
}

// Informer has more to say about the image.
type Informer interface{ Info() Info }

// Info is what a driver says of its image.
type Info struct {
	ClusterSize    int   // 0: none
	VMStateOffset  int64 // where VM state goes, or 0
	Dirty          bool  // not closed properly
	Subcluster     int
	Encrypted      bool
	KeyMissing     bool   // opened without its key
	Compressed     bool   // image as a whole
	BackingFile    string // as the image names it
	BackingFormat  string
	AllocatedBytes int64 // on the host; -1: not known
	Specific       any   // "format-specific" of query-block: {type, data}
	Statistics     any   // "driver-specific" of query-blockstats
	ZeroInit       bool  // a new image reads as zeroes
	UnallocZero    bool  // what is not allocated reads as zeroes (without a backing file)
	CanWriteZeroes bool  // writing zeroes with MayUnmap is quick
}

// BitmapStore keeps dirty bitmaps in the image.
type BitmapStore interface {
	CanStoreBitmap(name string, granularity int64) error
	// RemoveBitmap removes what is stored; nothing is no error.
	RemoveBitmap(ctx context.Context, name string) error
}

// FileNamer knows a better name for itself than its node can make up.
type FileNamer interface{ ExactFileName() string }

// Filter is a driver that shows the data of one child, unchanged. Reads and
// status may bypass it.
type Filter interface{ Filtered() *Child }
