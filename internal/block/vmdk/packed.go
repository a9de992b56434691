package vmdk

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"

	"govmd/internal/block"
	"govmd/internal/block/maptable"
)

// A compressed grain begins with a marker: its first sector on the disk (8 bytes),
// and the size of the zlib stream that follows (4 bytes).
const markerSize = 12

// packed is the last compressed grain that was read: reads of its parts mostly follow
// each other.
type packed struct {
	mu   sync.Mutex
	off  int64 // where it is in the file
	data []byte
	raw  []byte
	src  bytes.Reader
	dec  io.ReadCloser
}

// unpack reads a part of a compressed grain. in is where in the grain v begins.
func (x *sparse) unpack(p maptable.Place, in int64, v block.Vec) error {
	k := &x.packed
	k.mu.Lock()
	defer k.mu.Unlock()
	if at := p.Off - in; k.off != at || len(k.data) == 0 {
		k.off = 0
		if err := k.load(x, at); err != nil {
			return err
		}
		k.off = at
	}
	return v.Write(k.data[in : in+int64(v.Len())])
}

// load decompresses the grain at off.
func (k *packed) load(x *sparse, off int64) error {
	var marker [markerSize]byte
	if err := x.file.Pread(off, marker[:]); err != nil {
		return err
	}
	size := int64(le.Uint32(marker[8:]))
	if size == 0 || size > 2*x.grain || off+markerSize+size > x.file.Length() {
		return block.ErrIO
	}
	if k.data == nil {
		k.data, k.raw = make([]byte, x.grain), make([]byte, 2*x.grain)
	}
	raw := k.raw[:size]
	if err := x.file.Pread(off+markerSize, raw); err != nil {
		return err
	}
	k.src.Reset(raw)
	var err error
	if k.dec == nil {
		k.dec, err = zlib.NewReader(&k.src)
	} else {
		err = k.dec.(zlib.Resetter).Reset(&k.src, nil)
	}
	if err != nil {
		return block.ErrIO
	}
	// The last grain of a disk may be shorter.
	n, err := io.ReadFull(k.dec, k.data)
	if err != nil && err != io.ErrUnexpectedEOF {
		return block.ErrIO
	}
	clear(k.data[n:])
	return nil
}
