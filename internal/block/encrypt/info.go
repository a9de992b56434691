package encrypt

import (
	"govmd/internal/crypto/luks"
	"govmd/internal/crypto/sector"
)

// Info describes a LUKS header (QCryptoBlockInfoLUKS). Its members are in the order
// in which qemu-img shows them.
type Info struct {
	IVGen         sector.IVGen     `qmp:"ivgen-alg"`
	Hash          sector.Hash      `qmp:"hash-alg"`
	Cipher        sector.Algorithm `qmp:"cipher-alg"`
	UUID          string           `qmp:"uuid"`
	IVHash        *sector.Hash     `qmp:"ivgen-hash-alg"`
	Format        *string          `qmp:"format"` // of a qcow2 image's encryption
	Mode          sector.Mode      `qmp:"cipher-mode"`
	Slots         []SlotInfo       `qmp:"slots"`
	PayloadOffset int64            `qmp:"payload-offset"`
	Iterations    int64            `qmp:"master-key-iters"`
}

// SlotInfo describes a key slot (QCryptoBlockInfoLUKSSlot).
type SlotInfo struct {
	Active     bool   `qmp:"active"`
	Iterations *int64 `qmp:"iters"`
	Offset     int64  `qmp:"key-offset"`
	Stripes    *int64 `qmp:"stripes"`
}

// InfoOf describes a header.
func InfoOf(h *luks.Header) *Info {
	i := &Info{
		Cipher: h.Cipher, Mode: h.Mode, IVGen: h.IVGen, Hash: h.Hash, PayloadOffset: h.PayloadOffset,
		Iterations: int64(h.Iterations), UUID: h.UUID,
	}
	if h.IVGen == "" {
		i.IVGen = "plain64" // of no effect
	}
	if h.IVGen == "essiv" {
		i.IVHash = &h.IVHash
	}
	for k := range h.Slots {
		s := &h.Slots[k]
		slot := SlotInfo{Active: s.Active, Offset: s.Offset}
		if s.Active {
			iters, stripes := int64(s.Iterations), int64(s.Stripes)
			slot.Iterations, slot.Stripes = &iters, &stripes
		}
		i.Slots = append(i.Slots, slot)
	}
	return i
}
