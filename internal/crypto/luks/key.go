package luks

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"govmd/internal/crypto/sector"
)

// Storage is where header and key material are, from its beginning on.
type Storage interface {
	Pread(off int64, p []byte) error
	Pwrite(off int64, p []byte) error
	Flush() error // makes stable what was written
}

// ErrPassphrase says that no slot opens with the passphrase.
var ErrPassphrase = errors.New("Invalid password, cannot unlock any keyslot")

// DefaultIterTime is how long unlocking takes on the machine that makes a key.
const DefaultIterTime = 2 * time.Second

// minIterations is the least that keys are made with.
const minIterations = 1000

// Read reads the header.
func Read(s Storage) (*Header, error) {
	p := make([]byte, HeaderSize)
	if err := s.Pread(0, p); err != nil {
		return nil, fmt.Errorf("Unable to read LUKS header: %w", err)
	}
	return Parse(p)
}

// Write writes the header and makes it stable, after the key material that was
// written before it.
func (h *Header) Write(s Storage) error {
	if err := s.Flush(); err != nil {
		return err
	}
	if err := s.Pwrite(0, h.encode()); err != nil {
		return err
	}
	return s.Flush()
}

// Unlock returns the master key and the slot that the passphrase opens. It takes
// seconds or more, as the header says; ctx ends it early.
func (h *Header) Unlock(ctx context.Context, s Storage, pass []byte) (key []byte, slot int, err error) {
	for i := range h.Slots {
		if !h.Slots[i].Active {
			continue
		}
		if key, err := h.open(ctx, s, i, pass); key != nil || err != nil {
			return key, i, err
		}
	}
	return nil, 0, ErrPassphrase
}

// open returns the master key if the passphrase opens slot i, or nil.
func (h *Header) open(ctx context.Context, s Storage, i int, pass []byte) ([]byte, error) {
	fn, err := h.Hash.New()
	if err != nil {
		return nil, err
	}
	slot := &h.Slots[i]
	c, err := h.slotCipher(ctx, slot, pass)
	if err != nil {
		return nil, err
	}
	material := make([]byte, h.materialSize())
	if err := s.Pread(slot.Offset, material); err != nil {
		return nil, fmt.Errorf("Unable to read key slot %d: %w", i, err)
	}
	c.Decrypt(0, material)
	key := merge(fn(), material[:h.KeySize*slot.Stripes], h.KeySize)
	digest, err := derive(ctx, fn, key, h.salt[:], h.Iterations, digestSize)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(digest, h.digest[:]) == 0 {
		return nil, nil
	}
	return key, nil
}

// slotCipher returns what a slot's key material is encrypted with.
func (h *Header) slotCipher(ctx context.Context, slot *Slot, pass []byte) (*sector.Cipher, error) {
	fn, err := h.Hash.New()
	if err != nil {
		return nil, err
	}
	key, err := derive(ctx, fn, pass, slot.salt[:], slot.Iterations, h.KeySize)
	if err != nil {
		return nil, err
	}
	return sector.New(&h.Spec, key)
}

// New makes a header, with no passphrase yet, and the master key.
func New(ctx context.Context, spec *sector.Spec, hash sector.Hash, iterTime time.Duration) (*Header, []byte, error) {
	fn, err := hash.New()
	if err != nil {
		return nil, nil, err
	}
	h := &Header{Spec: *spec, Hash: hash, UUID: uuid.NewString()}
	if h.KeySize, err = spec.KeySize(); err != nil {
		return nil, nil, err
	}
	h.layOut()
	key := make([]byte, h.KeySize)
	rand.Read(key)
	rand.Read(h.salt[:])
	// An eighth, as it comes on top of a slot's.
	if h.Iterations, err = iterations(rate(fn, digestSize), iterTime/8); err != nil {
		return nil, nil, err
	}
	digest, err := derive(ctx, fn, key, h.salt[:], h.Iterations, digestSize)
	if err != nil {
		return nil, nil, err
	}
	copy(h.digest[:], digest)
	return h, key, h.check()
}

// PayloadOffset returns how many bytes a header that New makes, with its key slots,
// takes in front of the disk.
func PayloadOffset(spec *sector.Spec) (int64, error) {
	h := &Header{Spec: *spec}
	var err error
	if h.KeySize, err = spec.KeySize(); err != nil {
		return 0, err
	}
	h.layOut()
	return h.PayloadOffset, nil
}

// layOut places the slots and the payload.
func (h *Header) layOut() {
	each := (int64(h.KeySize)*stripes + align - 1) &^ (align - 1)
	for i := range h.Slots {
		h.Slots[i].Offset, h.Slots[i].Stripes = align+int64(i)*each, stripes
	}
	h.PayloadOffset = align + NumSlots*each
}

// iterations returns how many take a time at a rate.
func iterations(perSecond uint64, d time.Duration) (uint32, error) {
	n := uint64(float64(perSecond) * d.Seconds())
	if n > maxIterations {
		return 0, fmt.Errorf("PBKDF iterations %d larger than %d", n, maxIterations)
	}
	return uint32(max(n, minIterations)), nil
}

// SetKey has slot i, whose content is lost, open with the passphrase: unlocking
// takes iterTime on this machine. The header is not written.
func (h *Header) SetKey(ctx context.Context, s Storage, i int, key, pass []byte, iterTime time.Duration) error {
	fn, err := h.Hash.New()
	if err != nil {
		return err
	}
	slot := h.Slots[i]
	rand.Read(slot.salt[:])
	if slot.Iterations, err = iterations(rate(fn, h.KeySize), iterTime); err != nil {
		return err
	}
	c, err := h.slotCipher(ctx, &slot, pass)
	if err != nil {
		return err
	}
	material := make([]byte, h.materialSize())
	copy(material, split(fn(), key, slot.Stripes))
	c.Encrypt(0, material)
	if err := s.Pwrite(slot.Offset, material); err != nil {
		return fmt.Errorf("Unable to write key slot %d: %w", i, err)
	}
	slot.Active = true
	h.Slots[i] = slot
	return nil
}

// Erase makes what slot i holds unreadable. The header, which says that it is not
// used any more, has been written before.
func (h *Header) Erase(s Storage, i int) error {
	material := make([]byte, h.materialSize())
	rand.Read(material)
	return s.Pwrite(h.Slots[i].Offset, material)
}

// Disable marks slot i as unused. The header is not written.
func (h *Header) Disable(i int) {
	slot := &h.Slots[i]
	slot.Active, slot.Iterations, slot.salt = false, 0, [saltSize]byte{}
}

// Opens reports whether the passphrase opens slot i.
func (h *Header) Opens(ctx context.Context, s Storage, i int, pass []byte) (bool, error) {
	key, err := h.open(ctx, s, i, pass)
	return key != nil, err
}
