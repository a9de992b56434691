package encrypt

import (
	"context"
	"strings"

	"govmd/internal/block"
	"govmd/internal/crypto/luks"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// SlotState is what becomes of key slots.
type SlotState string

// EnumValues implements qmp.Enum.
func (SlotState) EnumValues() []string { return []string{"active", "inactive"} }

// AmendOptions change key slots (QCryptoBlockAmendOptionsLUKS): one is given a
// passphrase, or those that have one are erased.
type AmendOptions struct {
	State      SlotState `qmp:"state"`
	NewSecret  *string   `qmp:"new-secret"`
	OldSecret  *string   `qmp:"old-secret"`
	Slot       *int64    `qmp:"keyslot"`
	IterTimeMS *int64    `qmp:"iter-time"`
	Secret     *string   `qmp:"secret"` // that opens the image now
}

// slotKeys are the names of AmendOptions, secret excepted.
var slotKeys = []string{"iter-time", "keyslot", "new-secret", "old-secret", "state"}

// AmendKeys are the options of -o that change key slots, each name with a prefix.
func AmendKeys(prefix string) (keys []string) {
	for _, name := range slotKeys {
		keys = append(keys, prefix+name)
	}
	return keys
}

// DecodeAmend decodes such options.
func DecodeAmend(prefix string, keys *qmp.Object, mode qmp.Mode) (*AmendOptions, error) {
	bare := &qmp.Object{}
	for _, m := range keys.Members() {
		name, ok := strings.CutPrefix(m.Name, prefix)
		if !ok {
			return nil, block.Errorf(block.KindInvalid, "'%s' cannot be amended together with keyslots", m.Name)
		}
		bare.Add(name, m.Value)
	}
	doc, err := qjson.Parse(qmp.Append(nil, bare))
	if err != nil {
		return nil, block.Errorf(block.KindInvalid, "Options of the image cannot be read: %w", err)
	}
	o := new(AmendOptions)
	return o, qmp.Decode(doc.Root(), mode, o)
}

// Amend changes the key slots of a header in place: in storage first. secret is the
// ID of what opens the image now, unless the options name it. force allows what can
// lose the disk. It takes seconds; ctx ends it early.
func Amend(ctx context.Context, g *block.Graph, h *luks.Header, s luks.Storage, o *AmendOptions, secret *string, force bool) error {
	invalid := func(format string, args ...any) error { return block.Errorf(block.KindInvalid, format, args...) }
	if o.Slot != nil && (*o.Slot < 0 || *o.Slot >= luks.NumSlots) {
		return invalid("Invalid keyslot %d specified. Must be between 0 and %d", *o.Slot, luks.NumSlots-1)
	}
	if o.State == "active" {
		switch {
		case o.NewSecret == nil:
			return invalid("'new-secret' is required to activate a keyslot")
		case o.OldSecret != nil:
			return invalid("'old-secret' must not be given when activating keyslots")
		}
		if o.Secret != nil {
			secret = o.Secret
		}
		return activate(ctx, g, h, s, o, secret, force)
	}
	switch {
	case o.NewSecret != nil:
		return invalid("'new-secret' must not be given when erasing keyslots")
	case o.IterTimeMS != nil:
		return invalid("'iter-time' must not be given when erasing keyslots")
	}
	slots, err := toErase(ctx, g, h, s, o, force)
	if err != nil {
		return err
	}
	// Once the header is stable nothing asks for the key material any more.
	for _, i := range slots {
		h.Disable(i)
	}
	if err := h.Write(s); err != nil {
		return err
	}
	for _, i := range slots {
		if err := h.Erase(s, i); err != nil {
			return err
		}
	}
	return nil
}

// activate gives a slot a passphrase.
func activate(ctx context.Context, g *block.Graph, h *luks.Header, s luks.Storage, o *AmendOptions, secret *string, force bool) error {
	slot := -1
	if o.Slot != nil {
		slot = int(*o.Slot)
		if h.Slots[slot].Active && !force {
			return block.Errorf(block.KindInvalid, "Refusing to overwrite active keyslot %d - please erase it first", slot)
		}
	}
	for i := range h.Slots {
		if slot < 0 && !h.Slots[i].Active {
			slot = i
		}
	}
	if slot < 0 {
		return block.Errorf(block.KindInvalid, "Can't add a keyslot - all keyslots are in use")
	}
	d, err := iterTime(o.IterTimeMS)
	if err != nil {
		return err
	}
	pass, err := Passphrase(g, o.NewSecret, "")
	if err != nil {
		return err
	}
	current, err := Passphrase(g, secret, "")
	if err != nil {
		return err
	}
	key, _, err := h.Unlock(ctx, s, current)
	if err != nil {
		return err
	}
	if err := h.SetKey(ctx, s, slot, key, pass, d); err != nil {
		return err
	}
	return h.Write(s)
}

// toErase returns the slots that the options mean.
func toErase(ctx context.Context, g *block.Graph, h *luks.Header, s luks.Storage, o *AmendOptions, force bool) ([]int, error) {
	var old []byte
	var err error
	if o.OldSecret != nil {
		if old, err = Passphrase(g, o.OldSecret, ""); err != nil {
			return nil, err
		}
	}
	active := 0
	var slots []int
	for i := range h.Slots {
		if !h.Slots[i].Active {
			continue
		}
		active++
		if o.Slot != nil && int(*o.Slot) != i {
			continue
		}
		opens := true
		if o.OldSecret != nil {
			if opens, err = h.Opens(ctx, s, i, old); err != nil {
				return nil, err
			}
		}
		if opens {
			slots = append(slots, i)
		}
	}
	switch {
	case o.Slot == nil && o.OldSecret == nil:
		return nil, block.Errorf(block.KindInvalid, "To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given")
	case len(slots) == 0 && o.OldSecret != nil:
		return nil, block.Errorf(block.KindInvalid, "No keyslots match given (old) password for erase operation")
	case len(slots) == 0 && force:
		return []int{int(*o.Slot)}, nil // what is left in it goes
	case len(slots) == 0:
		return nil, block.Errorf(block.KindInvalid, "Given keyslot %d is already erased (inactive)", *o.Slot)
	case len(slots) == active && !force && o.OldSecret != nil:
		return nil, block.Errorf(block.KindInvalid, "All the active keyslots match the (old) password that was given and erasing them will erase all the data in the image irreversibly - refusing operation")
	case len(slots) == active && !force:
		return nil, block.Errorf(block.KindInvalid, "Attempt to erase the only active keyslot %d which will erase all the data in the image irreversibly - refusing operation", slots[0])
	}
	return slots, nil
}
