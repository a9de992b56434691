package qcow2

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"govmd/internal/block"
)

// compressedAt returns where the data of a compressed cluster are, and how many
// bytes they can have at most: whole sectors from there on.
func (q *image) compressedAt(e entry) (off, size int64) {
	x := 62 - (q.clusterBits - 8)
	off = int64(e.l2 & (1<<x - 1))
	sectors := int64(e.l2>>x)&(1<<(62-x)-1) + 1
	return off, sectors*512 - off&511
}

// decompCache is the last cluster that was decompressed: reads of its parts mostly
// follow each other.
type decompCache struct {
	mu   sync.Mutex
	off  int64
	data []byte
}

// readCompressed reads a part of a compressed cluster.
func (q *image) readCompressed(e entry, in int64, v block.Vec) error {
	off, size := q.compressedAt(e)
	q.decomp.mu.Lock()
	if q.decomp.off == off && q.decomp.data != nil {
		err := v.Write(q.decomp.data[in : in+int64(v.Len())])
		q.decomp.mu.Unlock()
		return err
	}
	q.decomp.mu.Unlock()
	src := block.GetBuffer(int(size))
	defer src.Release()
	if err := q.data.Pread(off, src.B); err != nil {
		return err
	}
	dst := block.GetBuffer(int(q.clusterSize))
	defer dst.Release()
	if err := decompress(q.hdr.compression, dst.B, src.B); err != nil {
		return block.ErrIO
	}
	if int64(v.Len()) < q.clusterSize {
		q.decomp.mu.Lock()
		q.decomp.data = append(q.decomp.data[:0], dst.B...)
		q.decomp.off = off
		q.decomp.mu.Unlock()
	}
	return v.Write(dst.B[in : in+int64(v.Len())])
}

// forgetDecompressed is called when compressed clusters are given up or written.
func (q *image) forgetDecompressed() {
	q.decomp.mu.Lock()
	q.decomp.data = nil
	q.decomp.mu.Unlock()
}

type inflater struct {
	r   bytes.Reader
	dec io.ReadCloser
}

var inflaters = sync.Pool{New: func() any {
	i := new(inflater)
	i.dec = flate.NewReader(&i.r)
	return i
}}

// zstdDecoders: one with bounded memory for each use at a time.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // the options are constant
	}
	return &zstdDecoder{d: d}
}}

type zstdDecoder struct {
	r bytes.Reader
	d *zstd.Decoder
}

// decompress fills dst. src may have garbage after the data.
func decompress(typ uint8, dst, src []byte) error {
	if typ == compressZstd {
		z := zstdDecoders.Get().(*zstdDecoder)
		defer zstdDecoders.Put(z)
		z.r.Reset(src)
		if err := z.d.Reset(&z.r); err != nil {
			return err
		}
		_, err := io.ReadFull(z.d, dst)
		return err
	}
	i := inflaters.Get().(*inflater)
	defer inflaters.Put(i)
	i.r.Reset(src)
	if err := i.dec.(flate.Resetter).Reset(&i.r, nil); err != nil {
		return err
	}
	_, err := io.ReadFull(i.dec, dst)
	return err
}

// sink is a buffer of fixed size: writing beyond it is an error.
type sink struct {
	p []byte
	n int
}

func (s *sink) Write(p []byte) (int, error) {
	if len(p) > len(s.p)-s.n {
		return 0, io.ErrShortBuffer
	}
	s.n += copy(s.p[s.n:], p)
	return len(p), nil
}

type deflater struct {
	s sink
	w *flate.Writer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	// Readers have a window of 4 KiB (docs/interop/qcow2.txt, "Compressed Clusters").
	w, err := flate.NewWriterWindow(&d.s, 4096)
	if err != nil {
		panic(err) // the level is constant
	}
	d.w = w
	return d
}}

var zstdEncoders = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(2<<20))
	if err != nil {
		panic(err) // the options are constant
	}
	return e
}}

// compress packs src into dst and returns how long that is, 0 when it does not fit.
func compress(typ uint8, dst, src []byte) int {
	if typ == compressZstd {
		e := zstdEncoders.Get().(*zstd.Encoder)
		defer zstdEncoders.Put(e)
		s := sink{p: dst}
		e.Reset(&s)
		if _, err := e.Write(src); err != nil {
			return 0
		}
		if e.Close() != nil {
			return 0
		}
		return s.n
	}
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.s = sink{p: dst}
	d.w.Reset(&d.s)
	if _, err := d.w.Write(src); err != nil || d.w.Close() != nil {
		return 0
	}
	return d.s.n
}

// writeCompressed writes whole clusters, the last of the disk excepted, in
// compressed form; what does not become smaller is written as it is.
func (q *image) writeCompressed(off int64, v block.Vec) error {
	if q.ext {
		return block.ErrUnsupp
	}
	end := off + int64(v.Len())
	if off&(q.clusterSize-1) != 0 || end&(q.clusterSize-1) != 0 && end != q.sizeBytes.Load() {
		return block.ErrInvalid
	}
	for v.Len() > 0 {
		n := min(v.Len(), int(q.clusterSize))
		if err := q.writeOneCompressed(off, v.To(n)); err != nil {
			return err
		}
		off, v = off+int64(n), v.From(n)
	}
	return nil
}

func (q *image) writeOneCompressed(off int64, v block.Vec) error {
	src := block.GetBuffer(int(q.clusterSize))
	defer src.Release()
	clear(src.B[v.Len():])
	if err := v.Read(src.B); err != nil {
		return err
	}
	dst := block.GetBuffer(int(q.clusterSize))
	defer dst.Release()
	// It has to be smaller than the cluster, or nothing is won.
	n := compress(q.hdr.compression, dst.B[:q.clusterSize-1], src.B)
	if n == 0 {
		return q.Pwritev(off, v, 0)
	}
	return q.work(func() error { return q.placeCompressed(off, dst.B[:n]) })
}

// placeCompressed finds room for the data, writes and enters them.
func (q *image) placeCompressed(off int64, data []byte) error {
	guest, n := off>>q.clusterBits, int64(len(data))
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.conflict(guest, guest+1) != nil {
			q.wait()
			continue
		}
		_, _, err := q.table(guest)
		if err == nil {
			break
		}
		if err != errRetry {
			return err
		}
	}
	if err := q.needDirty(); err != nil {
		return err
	}
	host, err := q.allocBytes(n)
	if err != nil {
		return err
	}
	a := q.begin(guest, guest+1)
	defer q.end(a)
	q.mu.Unlock()
	q.file.Debug(block.EventWriteCompressed)
	err = q.data.Pwrite(host, data)
	q.mu.Lock()
	if err == nil {
		err = q.linkCompressed(guest, host, n)
	}
	if err != nil {
		first, last := host>>q.clusterBits, (host+n-1)>>q.clusterBits
		q.unalloc(first, last-first+1)
		q.byteOffset = 0
	}
	return err
}

// linkCompressed enters n bytes of compressed data at host in the L2 table. mu is
// held.
func (q *image) linkCompressed(guest, host, n int64) error {
	t, i, err := q.table(guest)
	for err == errRetry {
		t, i, err = q.table(guest)
	}
	if err != nil {
		return err
	}
	old := q.entryAt(t, i)
	x := 62 - (q.clusterBits - 8)
	sectors := (host+n-1)>>9 - host>>9
	q.setEntry(t, i, entry{l2: uint64(host) | uint64(sectors)<<x | flagCompressed})
	q.freeEntry(old, freeOther)
	q.forgetDecompressed()
	return nil
}

// allocBytes takes n bytes, at most a cluster: after what was taken last if they
// fit there, or if the cluster that follows is free. Each cluster that they touch is
// used once more. mu is held.
func (q *image) allocBytes(n int64) (int64, error) {
	at := q.byteOffset
	cur, in := at>>q.clusterBits, at&(q.clusterSize-1)
	fits, follows := in+n <= q.clusterSize, false
	if in != 0 && (fits || q.freeHint == cur+1) {
		uses, err := q.refcount(cur)
		if err != nil {
			return 0, err
		}
		follows = uses > 0 && uses < maxRefcount(q.hdr.refcountOrder)
	}
	if !follows || !fits {
		c, _, _, err := q.alloc(1)
		if err != nil {
			return 0, err
		}
		if !follows || c != cur+1 {
			q.byteOffset = c<<q.clusterBits + n
			return c << q.clusterBits, nil
		}
	}
	if err := q.addRefcount(cur, 1, 1); err != nil {
		return 0, err
	}
	q.byteOffset = at + n
	return at, nil
}
