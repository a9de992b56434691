package block

// Flags modify a request.
type Flags uint32

// The flags. A driver is called only with those write flags that its Limits
// name; the node emulates or drops the others.
const (
	FUA         Flags = 1 << iota // on stable storage before it completes
	MayUnmap                      // zeroes may be made by deallocating
	NoFallback                    // zeroes: fail with ErrUnsupp rather than write them slowly
	Compressed                    // write in compressed form, if the format has one
	Unchanged                     // the guest sees the same data as before (copy-on-read, resize of a chain)
	Serialising                   // no other request may overlap
	CopyOnRead                    // what comes from the backing chain is kept here
	ZeroWrite                     // the data of a write is known to be zero
)

// Prealloc is how much is allocated when an image is created or grows.
type Prealloc uint8

// The preallocation modes.
const (
	PreallocOff      Prealloc = iota
	PreallocMetadata          // the format's tables
	PreallocFalloc            // and space, by fallocate
	PreallocFull              // and space, by writing
)

var preallocNames = [...]string{"off", "metadata", "falloc", "full"}

func (p Prealloc) String() string { return preallocNames[p] }

// ParsePrealloc returns the mode of that name.
func ParsePrealloc(s string) (Prealloc, error) {
	for i, n := range preallocNames {
		if s == n {
			return Prealloc(i), nil
		}
	}
	return 0, Errorf(KindInvalid, "Parameter 'preallocation' does not accept value '%s'", s)
}

// StatusFlags say what is known of a range of an image.
type StatusFlags uint8

// What BlockStatus reports.
const (
	StatusData       StatusFlags = 1 << iota // reads come from this layer's storage
	StatusZero                               // it reads as zeroes
	StatusAllocated                          // it is this layer, not its backing file, that says so
	StatusOffset                             // File and Offset say where the data is, as it is
	StatusEOF                                // the range ends where the image does
	StatusCompressed                         // the data is compressed
	StatusRecurse                            // driver to node only: ask File for more about data or zero
)

// Status describes the N bytes from the offset that was asked about.
type Status struct {
	Flags  StatusFlags
	N      int64 // at least 1, unless at the end of the image
	File   *Node // which node's Offset it is
	Offset int64
}
