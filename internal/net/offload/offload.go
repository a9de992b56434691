// Package offload does what a card leaves to its back end, where that cannot do it:
// it fills in checksums and cuts what is too long for a frame into frames, as the
// virtio-net header asks for (virtio 1.2, section 5.1.6).
package offload

import (
	"encoding/binary"
	"errors"
)

// Header is a virtio-net header, without the number of buffers.
type Header struct {
	Flags      byte
	GSO        byte
	HeaderLen  uint16
	Size       uint16 // of a segment's data
	Start, Off uint16 // of the checksum: where what it covers begins, and how far from there it is
}

// Flags, and kinds of segmentation.
const (
	NeedsChecksum = 1

	GSONone  = 0
	GSOTCPv4 = 1
	GSOUDP   = 3
	GSOTCPv6 = 4
	GSOECN   = 0x80 // with either kind of TCP
)

// Parse reads a header. p has 10 bytes or more.
func Parse(p []byte) Header {
	le := binary.LittleEndian
	return Header{p[0], p[1], le.Uint16(p[2:]), le.Uint16(p[4:]), le.Uint16(p[6:]), le.Uint16(p[8:])}
}

// Plain reports whether nothing is left to do.
func (h Header) Plain() bool { return h.Flags&NeedsChecksum == 0 && h.GSO == GSONone }

// Errors of frames that do not fit their header.
var (
	ErrChecksum = errors.New("the checksum is beyond the frame's end")
	ErrSegment  = errors.New("the frame cannot be cut as its header asks")
)

// Resolve calls emit for each plain frame that a frame with this header stands for,
// until it returns false. It changes the frame, of which emit gets parts or copies in
// buf, that it must not keep. buf is as long as the frame, or longer.
func Resolve(h Header, frame, buf []byte, emit func(frame []byte) bool) error {
	if h.GSO == GSONone {
		if h.Flags&NeedsChecksum != 0 {
			if err := complete(frame, int(h.Start), int(h.Off)); err != nil {
				return err
			}
		}
		emit(frame)
		return nil
	}
	return segment(h, frame, buf, emit)
}

// complete fills in the checksum of what begins at start; the field holds that of the
// pseudo header.
func complete(frame []byte, start, off int) error {
	at := start + off
	if at+2 > len(frame) {
		return ErrChecksum
	}
	sum := fold(add(0, frame[start:]))
	if sum == 0xffff {
		sum = 0 // UDP's "no checksum" is 0: its complement is sent
	}
	binary.BigEndian.PutUint16(frame[at:], ^sum)
	return nil
}

// add adds p to a sum of 16-bit words.
func add(sum uint64, p []byte) uint64 {
	for ; len(p) >= 8; p = p[8:] {
		v := binary.BigEndian.Uint64(p)
		sum += v>>32 + v&0xffffffff
	}
	for ; len(p) >= 2; p = p[2:] {
		sum += uint64(binary.BigEndian.Uint16(p))
	}
	if len(p) == 1 {
		sum += uint64(p[0]) << 8
	}
	return sum
}

func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

const (
	ethernet = 14
	tagged   = 4
	tcp      = 6
)

// layout is where the parts of a frame with TCP are.
type layout struct {
	ip, tcp, data int
	v6            bool
}

func parse(frame []byte) (l layout, err error) {
	be := binary.BigEndian
	l.ip = ethernet
	if len(frame) < ethernet {
		return l, ErrSegment
	}
	kind := be.Uint16(frame[12:])
	if kind == 0x8100 && len(frame) >= ethernet+tagged {
		l.ip += tagged
		kind = be.Uint16(frame[16:])
	}
	p := frame[l.ip:]
	switch {
	case kind == 0x0800 && len(p) >= 20 && p[0]>>4 == 4 && p[9] == tcp:
		l.tcp = l.ip + int(p[0]&15)*4
		if l.tcp < l.ip+20 {
			return l, ErrSegment
		}
	case kind == 0x86dd && len(p) >= 40 && p[0]>>4 == 6 && p[6] == tcp:
		l.tcp, l.v6 = l.ip+40, true
	default:
		return l, ErrSegment
	}
	if len(frame) < l.tcp+20 {
		return l, ErrSegment
	}
	l.data = l.tcp + int(frame[l.tcp+12]>>4)*4
	if l.data < l.tcp+20 || l.data > len(frame) {
		return l, ErrSegment
	}
	return l, nil
}

// Flags of TCP.
const (
	flagFIN = 0x01
	flagPSH = 0x08
	flagCWR = 0x80
)

// segment cuts TCP data (RFC 9293, section 3.7.5: what leaves a host may be cut
// anywhere).
func segment(h Header, frame, buf []byte, emit func([]byte) bool) error {
	kind := h.GSO &^ GSOECN
	if kind != GSOTCPv4 && kind != GSOTCPv6 || h.Size == 0 {
		return ErrSegment
	}
	l, err := parse(frame)
	if err != nil {
		return err
	}
	if l.v6 != (kind == GSOTCPv6) {
		return ErrSegment
	}
	be := binary.BigEndian
	seq := be.Uint32(frame[l.tcp+4:])
	flags := frame[l.tcp+13]
	id := be.Uint16(frame[l.ip+4:])
	data := frame[l.data:]
	for first := true; len(data) > 0 || first; first = false {
		n := min(len(data), int(h.Size))
		out := append(append(buf[:0], frame[:l.data]...), data[:n]...)
		data = data[n:]
		f := flags
		if len(data) > 0 {
			f &^= flagFIN | flagPSH
		}
		if !first {
			f &^= flagCWR
		}
		out[l.tcp+13] = f
		be.PutUint32(out[l.tcp+4:], seq)
		seq += uint32(n)
		l.lengths(out, id)
		id++
		l.checksum(out)
		if !emit(out) {
			return nil
		}
	}
	return nil
}

// lengths sets the lengths in a segment's headers, and IPv4's own checksum.
func (l layout) lengths(out []byte, id uint16) {
	be := binary.BigEndian
	p := out[l.ip:]
	if l.v6 {
		be.PutUint16(p[4:], uint16(len(p)-40))
		return
	}
	be.PutUint16(p[2:], uint16(len(p)))
	be.PutUint16(p[4:], id)
	be.PutUint16(p[10:], 0)
	be.PutUint16(p[10:], ^fold(add(0, p[:l.tcp-l.ip])))
}

// checksum fills in that of a segment, pseudo header and all.
func (l layout) checksum(out []byte) {
	be := binary.BigEndian
	be.PutUint16(out[l.tcp+16:], 0)
	addresses := out[l.ip+12 : l.ip+20]
	if l.v6 {
		addresses = out[l.ip+8 : l.ip+40]
	}
	sum := add(tcp+uint64(len(out)-l.tcp), addresses)
	be.PutUint16(out[l.tcp+16:], ^fold(add(sum, out[l.tcp:])))
}
