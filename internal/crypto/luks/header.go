// Package luks reads and writes the headers of LUKS version 1 (the "LUKS On-Disk
// Format Specification" 1.2.3): which cipher encrypts the disk, and its key, in up
// to 8 slots, each encrypted under a passphrase.
package luks

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"govmd/internal/crypto/sector"
)

const (
	// HeaderSize is the size of what Parse reads.
	HeaderSize = 592
	// NumSlots is the number of key slots.
	NumSlots = 8

	magic      = "LUKS\xba\xbe"
	align      = 4096 // of key material
	stripes    = 4000
	digestSize = 20
	saltSize   = 32

	slotActive   = 0x00ac71f3
	slotInactive = 0x0000dead

	// maxIterations bounds what a header can have us compute: minutes for each slot.
	maxIterations = 1 << 30
)

// Header is what is known of an encrypted disk.
type Header struct {
	sector.Spec
	Hash          sector.Hash
	KeySize       int   // of the master key, in bytes
	PayloadOffset int64 // of the encrypted disk, in bytes
	UUID          string
	Iterations    uint32 // of the master key's digest
	Slots         [NumSlots]Slot

	digest [digestSize]byte // of the master key
	salt   [saltSize]byte
}

// Slot is a key slot.
type Slot struct {
	Active     bool
	Iterations uint32
	Offset     int64 // of the key material, in bytes
	Stripes    int

	salt [saltSize]byte
}

// IsHeader reports whether p begins as a header of this version.
func IsHeader(p []byte) bool {
	return len(p) >= len(magic)+2 && string(p[:len(magic)]) == magic && binary.BigEndian.Uint16(p[len(magic):]) == 1
}

// Parse reads a header. An error names the field that is wrong.
func Parse(p []byte) (*Header, error) {
	if len(p) < HeaderSize {
		return nil, fmt.Errorf("LUKS header: there are %d bytes of %d", len(p), HeaderSize)
	}
	be := binary.BigEndian
	if string(p[:6]) != magic {
		return nil, fmt.Errorf("Volume is not in LUKS format")
	}
	if v := be.Uint16(p[6:]); v != 1 {
		return nil, fmt.Errorf("LUKS version %d is not supported", v)
	}
	var text [3]string
	for i, name := range []string{"cipher-name", "cipher-mode", "hash-spec"} {
		field := p[8+32*i : 40+32*i]
		end := bytes.IndexByte(field, 0)
		if end < 0 {
			return nil, fmt.Errorf("LUKS header %s is not NUL terminated", name)
		}
		text[i] = string(field[:end])
	}
	h := &Header{
		Hash: sector.Hash(text[2]), PayloadOffset: int64(be.Uint32(p[104:])) * sector.Size, Iterations: be.Uint32(p[164:]),
		UUID: string(bytes.TrimRight(p[168:208], "\x00")),
	}
	copy(h.digest[:], p[112:])
	copy(h.salt[:], p[132:])
	keyBytes := be.Uint32(p[108:])
	if keyBytes > 1024 {
		return nil, fmt.Errorf("LUKS header key-bytes %d is too large", keyBytes)
	}
	h.KeySize = int(keyBytes)
	h.setCipher(text[0], text[1])
	for i := range h.Slots {
		q := p[208+48*i:]
		s := &h.Slots[i]
		switch state := be.Uint32(q); state {
		case slotActive:
			s.Active = true
		case slotInactive:
		default:
			return nil, fmt.Errorf("LUKS key slot %d: active %#08x is neither", i, state)
		}
		s.Iterations, s.Offset = be.Uint32(q[4:]), int64(be.Uint32(q[40:]))*sector.Size
		copy(s.salt[:], q[8:])
		n := be.Uint32(q[44:])
		if n != stripes {
			return nil, fmt.Errorf("LUKS key slot %d: stripes %d, not %d", i, n, stripes)
		}
		s.Stripes = int(n)
	}
	return h, h.check()
}

// setCipher takes the cipher's name and a mode as the header has it: "cbc-essiv:sha256".
func (h *Header) setCipher(name, mode string) {
	chain, iv, _ := strings.Cut(mode, "-")
	gen, ivHash, _ := strings.Cut(iv, ":")
	h.Mode, h.IVGen, h.IVHash = sector.Mode(chain), sector.IVGen(gen), sector.Hash(ivHash)
	h.Cipher = sector.AlgorithmOf(name, h.Mode, h.KeySize)
}

// check checks what is supported and where things are.
func (h *Header) check() error {
	n, err := h.Spec.KeySize()
	switch {
	case err != nil:
		return err
	case n != h.KeySize:
		return fmt.Errorf("LUKS header key-bytes %d does not fit %s in mode %s", h.KeySize, h.Cipher, h.Mode)
	case h.Iterations == 0 || h.Iterations > maxIterations:
		return fmt.Errorf("LUKS header mk-digest-iter %d is not between 1 and %d", h.Iterations, maxIterations)
	}
	if _, err := h.Hash.New(); err != nil {
		return err
	}
	if h.PayloadOffset < align {
		return fmt.Errorf("LUKS payload-offset %d is within the header", h.PayloadOffset/sector.Size)
	}
	for i := range h.Slots {
		s := &h.Slots[i]
		end := s.Offset + h.materialSize()
		switch {
		case s.Active && (s.Iterations == 0 || s.Iterations > maxIterations):
			return fmt.Errorf("LUKS key slot %d: iterations %d is not between 1 and %d", i, s.Iterations, maxIterations)
		case s.Offset < align:
			return fmt.Errorf("LUKS key slot %d: key-material-offset %d is within the header", i, s.Offset/sector.Size)
		case end > h.PayloadOffset:
			return fmt.Errorf("LUKS key slot %d: key-material-offset %d lets it overlap the payload", i, s.Offset/sector.Size)
		}
		for j := range i {
			if o := h.Slots[j].Offset; o < end && s.Offset < o+h.materialSize() {
				return fmt.Errorf("LUKS key slots %d and %d overlap", j, i)
			}
		}
	}
	return nil
}

// materialSize is the size of a slot's key material in bytes, whole sectors.
func (h *Header) materialSize() int64 {
	return (int64(h.KeySize)*stripes + sector.Size - 1) &^ (sector.Size - 1)
}

// modeText is the mode as the header has it.
func (h *Header) modeText() string {
	switch {
	case h.Mode == "ecb" && h.IVGen == "":
		return string(h.Mode)
	case h.IVHash != "":
		return fmt.Sprintf("%s-%s:%s", h.Mode, h.IVGen, h.IVHash)
	}
	return fmt.Sprintf("%s-%s", h.Mode, h.IVGen)
}

// encode returns the header as it is on the disk.
func (h *Header) encode() []byte {
	be := binary.BigEndian
	p := make([]byte, HeaderSize)
	copy(p, magic)
	be.PutUint16(p[6:], 1)
	copy(p[8:40], h.Family())
	copy(p[40:72], h.modeText())
	copy(p[72:104], h.Hash)
	be.PutUint32(p[104:], uint32(h.PayloadOffset/sector.Size))
	be.PutUint32(p[108:], uint32(h.KeySize))
	copy(p[112:], h.digest[:])
	copy(p[132:], h.salt[:])
	be.PutUint32(p[164:], h.Iterations)
	copy(p[168:207], h.UUID)
	for i := range h.Slots {
		q, s := p[208+48*i:], &h.Slots[i]
		be.PutUint32(q, slotInactive)
		if s.Active {
			be.PutUint32(q, slotActive)
		}
		be.PutUint32(q[4:], s.Iterations)
		copy(q[8:], s.salt[:])
		be.PutUint32(q[40:], uint32(s.Offset/sector.Size))
		be.PutUint32(q[44:], uint32(s.Stripes))
	}
	return p
}
