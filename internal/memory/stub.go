package memory

import "io"

const todo = "memory: not written yet"

// System is one machine's memory: the topology lock, the regions, the address
// spaces, the RAM blocks and who tracks dirty pages.
type System struct{}

// NewSystem returns the memory of a machine that has none yet.
func NewSystem() *System { return &System{} }

// NewSpace adds an address space of size bytes, 0 meaning 2^64.
func (s *System) NewSpace(name string, size uint64) *Space { panic(todo) }

// Update runs fn; listeners see what it changes as one change.
func (s *System) Update(fn func()) { panic(todo) }

// NewContainer returns a region that holds others; size 0 means 2^64.
func (s *System) NewContainer(name string, size uint64) *Region { panic(todo) }

// NewIO returns a region whose accesses go to h.
func (s *System) NewIO(name string, size uint64, h Handler, spec Spec) *Region { panic(todo) }

// NewRAM returns a region that is a part of b; size 0 means the rest of b.
func (s *System) NewRAM(name string, b *Block, offset, size uint64) *Region { panic(todo) }

// NewROM returns a region that is a part of b and ignores writes.
func (s *System) NewROM(name string, b *Block, offset, size uint64) *Region { panic(todo) }

// NewAlias returns a region that shows a part of target.
func (s *System) NewAlias(name string, target *Region, offset, size uint64) *Region { panic(todo) }

// NewBlock allocates guest RAM.
func (s *System) NewBlock(cfg BlockConfig) (*Block, error) { panic(todo) }

// Blocks returns the RAM blocks, in order of creation.
func (s *System) Blocks() []*Block { panic(todo) }

// NewDirtyConsumer returns a consumer, not yet started.
func (s *System) NewDirtyConsumer(name string) *DirtyConsumer { panic(todo) }

// AddDirtySource adds a source until remove is called.
func (s *System) AddDirtySource(src DirtySource) (remove func()) { panic(todo) }

// Region is a node of the tree from which address spaces are made.
type Region struct{}

// Add places child at priority 0; overlap with a sibling of that priority is an error.
func (r *Region) Add(offset uint64, child *Region) error { panic(todo) }

// AddOverlap places child; the higher priority wins, among equals the later.
func (r *Region) AddOverlap(offset uint64, child *Region, priority int) error { panic(todo) }

// Remove takes child out of r.
func (r *Region) Remove(child *Region)               { panic(todo) }
func (r *Region) SetEnabled(on bool)                 { panic(todo) }
func (r *Region) SetReadOnly(on bool)                { panic(todo) }
func (r *Region) SetOffset(offset uint64)            { panic(todo) }
func (r *Region) SetAliasOffset(offset uint64)       { panic(todo) }
func (r *Region) SetPriority(priority int)           { panic(todo) }
func (r *Region) SetSize(size uint64)                { panic(todo) }
func (r *Region) SetWriteHandler(h Handler, sp Spec) { panic(todo) }
func (r *Region) SetDirectRead(on bool)              { panic(todo) }
func (r *Region) Quiesce()                           { panic(todo) }
func (r *Region) Name() string                       { panic(todo) }
func (r *Region) Size() uint64                       { panic(todo) }
func (r *Region) Offset() uint64                     { panic(todo) }
func (r *Region) Priority() int                      { panic(todo) }
func (r *Region) Enabled() bool                      { panic(todo) }
func (r *Region) Parent() *Region                    { panic(todo) }

// AddIoEventFD has writes of size bytes at offset (of *match only, unless nil) signal fd.
func (r *Region) AddIoEventFD(offset uint64, size int, match *uint64, fd int)    { panic(todo) }
func (r *Region) RemoveIoEventFD(offset uint64, size int, match *uint64, fd int) { panic(todo) }

// Space is an address space.
type Space struct{}

func (s *Space) Name() string                                         { panic(todo) }
func (s *Space) Root() *Region                                        { panic(todo) }
func (s *Space) System() *System                                      { panic(todo) }
func (s *Space) Read(addr uint64, p []byte) error                     { panic(todo) }
func (s *Space) Write(addr uint64, p []byte) error                    { panic(todo) }
func (s *Space) ReadIO(addr uint64, p []byte)                         { panic(todo) }
func (s *Space) WriteIO(addr uint64, p []byte)                        { panic(todo) }
func (s *Space) AddListener(l Listener, priority int) (remove func()) { panic(todo) }
func (s *Space) FlatView() []Section                                  { panic(todo) }
func (s *Space) Dump(w io.Writer)                                     { panic(todo) }
func (s *Space) DumpFlat(w io.Writer)                                 { panic(todo) }
func (s *Space) NewDMA(name string) *DMA                              { panic(todo) }

// Listener is told of changes of a space.
type Listener interface{ MapChanged(c Change) }

// Change is the difference between two maps.
type Change struct {
	Removed, Added     []Section
	FDRemoved, FDAdded []IoEventFD
}

// Section is a stretch of a space that one region serves.
type Section struct {
	Addr, Size   uint64  // Size 0 means 2^64
	Region       *Region // the RAM, ROM or I/O region
	RegionOffset uint64  // of the first byte in Region
	Block        *Block  // nil: I/O
	Offset       uint64  // of the first byte in Block
	ReadOnly     bool    // writes go to software
}

// IoEventFD is a write that signals a descriptor.
type IoEventFD struct {
	Addr  uint64
	Size  int // 0: any
	Match bool
	Value uint64 // what is written, if Match
	FD    int
}

// AccessError is why memory could not be accessed.
type AccessError struct{}

func (e *AccessError) Error() string { panic(todo) }

// DMA is the memory that a device may access.
type DMA struct{}

func (d *DMA) Name() string                                                            { panic(todo) }
func (d *DMA) SetEnabled(on bool)                                                      { panic(todo) }
func (d *DMA) Enabled() bool                                                           { panic(todo) }
func (d *DMA) Read(addr uint64, p []byte) error                                        { panic(todo) }
func (d *DMA) Write(addr uint64, p []byte) error                                       { panic(todo) }
func (d *DMA) ReadU16(addr uint64) (uint16, error)                                     { panic(todo) }
func (d *DMA) ReadU32(addr uint64) (uint32, error)                                     { panic(todo) }
func (d *DMA) ReadU64(addr uint64) (uint64, error)                                     { panic(todo) }
func (d *DMA) WriteU16(addr uint64, v uint16) error                                    { panic(todo) }
func (d *DMA) WriteU32(addr uint64, v uint32) error                                    { panic(todo) }
func (d *DMA) WriteU64(addr uint64, v uint64) error                                    { panic(todo) }
func (d *DMA) Borrow(addr, size uint64, write bool) (Borrow, error)                    { panic(todo) }
func (d *DMA) BorrowVec(addr, size uint64, write bool, dst []Borrow) ([]Borrow, error) { panic(todo) }
func (d *DMA) Window(addr, size uint64, write bool) (*Window, error)                   { panic(todo) }

// Borrow is RAM lent to a device. Bytes is for system calls; touch the bytes
// from Go by CopyTo and CopyFrom, or inside Touch.
type Borrow struct{}

func (b Borrow) Bytes() []byte                              { panic(todo) }
func (b Borrow) Size() uint64                               { panic(todo) }
func (b Borrow) CopyTo(p []byte, off uint64) (int, error)   { panic(todo) }
func (b Borrow) CopyFrom(p []byte, off uint64) (int, error) { panic(todo) }
func (b Borrow) Release(written uint64)                     { panic(todo) }

// Touch runs fn, which touches borrowed bytes, and returns an error if they were not there.
func Touch(fn func()) error { panic(todo) }

// Window is a long-lived mapping of a small piece of RAM, for virtqueue rings.
// It is used by one goroutine at a time.
type Window struct{}

func (w *Window) Close()                              { panic(todo) }
func (w *Window) Addr() uint64                        { panic(todo) }
func (w *Window) Size() uint64                        { panic(todo) }
func (w *Window) Read(off uint64, p []byte) error     { panic(todo) }
func (w *Window) Write(off uint64, p []byte) error    { panic(todo) }
func (w *Window) LoadU16(off uint64) (uint16, error)  { panic(todo) }
func (w *Window) LoadU32(off uint64) (uint32, error)  { panic(todo) }
func (w *Window) LoadU64(off uint64) (uint64, error)  { panic(todo) }
func (w *Window) StoreU16(off uint64, v uint16) error { panic(todo) }
func (w *Window) StoreU32(off uint64, v uint32) error { panic(todo) }
func (w *Window) StoreU64(off uint64, v uint64) error { panic(todo) }

// BlockConfig says what a RAM block is made of.
type BlockConfig struct {
	Name      string
	Size      uint64
	Shared    bool   // other processes may map it (memfd, or the file itself)
	Path      string // file or directory that backs it
	FD        int    // open file that backs it, if above 0; stays the caller's
	Offset    uint64 // in the file
	HugeTLB   uint64 // hugepage size, 0 for none
	ReadOnly  bool   // open and map the file read-only
	Prealloc  bool
	Dump      bool // part of core dumps
	Merge     bool // KSM may merge its pages
	NoReserve bool
}

// Block is a piece of RAM.
type Block struct{}

func (b *Block) Name() string                                        { panic(todo) }
func (b *Block) Size() uint64                                        { panic(todo) }
func (b *Block) HostAddr() uintptr                                   { panic(todo) }
func (b *Block) FD() int                                             { panic(todo) }
func (b *Block) FDOffset() uint64                                    { panic(todo) }
func (b *Block) Logging() bool                                       { panic(todo) }
func (b *Block) Read(off uint64, p []byte) error                     { panic(todo) }
func (b *Block) Write(off uint64, p []byte) error                    { panic(todo) }
func (b *Block) Borrow(off, size uint64, write bool) (Borrow, error) { panic(todo) }
func (b *Block) Discard(off, size uint64) error                      { panic(todo) }
func (b *Block) Close() error                                        { panic(todo) }

// DirtySource is who knows of writes by others than this process's Go code.
type DirtySource interface {
	SetLogging(b *Block, on bool) error
	Sync(b *Block, mark func(page, bits uint64)) error
}

// DirtyConsumer has a bitmap of its own over each block.
type DirtyConsumer struct{}

func (c *DirtyConsumer) Start(blocks ...*Block) error { panic(todo) }
func (c *DirtyConsumer) Stop()                        { panic(todo) }

// Harvest takes the dirty pages from first to last and calls fn for each run of them.
func (c *DirtyConsumer) Harvest(b *Block, first, last uint64, fn func(page, n uint64)) error {
	panic(todo)
}
