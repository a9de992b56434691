package server

import (
	"encoding/binary"
	"strings"

	"govmd/internal/block/nbd/wire"
)

// Numbers of meta contexts: what clients know them by in replies.
const (
	contextBase  = 0
	contextDepth = 1
	contextDirty = 2 // and the number of the bitmap
)

// allocationDepth is the context whose status says how far up the backing chain the
// data are: 1 in the node itself, 0 nowhere.
const allocationDepth = "qemu:allocation-depth"

// qemuSpace is the name space of these contexts.
const qemuSpace = "qemu:"

// contexts are the meta contexts that a client has chosen.
type contexts struct {
	offer   *offer
	base    bool
	depth   bool
	bitmaps []int // of offer.bitmaps, growing
}

// count returns how many there are.
func (c *contexts) count() int {
	n := len(c.bitmaps)
	if c.base {
		n++
	}
	if c.depth {
		n++
	}
	return n
}

// metaContexts is the options LIST_META_CONTEXT and SET_META_CONTEXT.
func (h *handshake) metaContexts(o wire.Option, data []byte) error {
	if !h.structured {
		return h.refuse(o, wire.RepErrInvalid, "request option '%s' when structured reply is not negotiated", o)
	}
	list := o == wire.OptListMetaContext
	if !list {
		h.contexts = contexts{} // the last setting counts, whatever becomes of it
	}
	name, ok := text(&data)
	count, four := cut(&data, 4)
	if !ok || !four {
		return h.refuse(o, wire.RepErrInvalid, "option %d (%s) is malformed", o, o)
	}
	x := h.server.find(name)
	if x == nil {
		return h.refuse(o, wire.RepErrUnknown, "export '%s' not present", name)
	}
	found := contexts{offer: x}
	queries := binary.BigEndian.Uint32(count)
	chosen := make([]bool, len(x.bitmaps))
	for range queries { // each takes some of data, which ends
		q, ok := text(&data)
		if !ok {
			return h.refuse(o, wire.RepErrInvalid, "option %d (%s) is malformed", o, o)
		}
		x.match(q, list, &found, chosen)
	}
	if len(data) > 0 {
		return h.refuse(o, wire.RepErrInvalid, "option %d (%s) is malformed", o, o)
	}
	if list && queries == 0 {
		x.match("base:", true, &found, chosen)
		x.match(qemuSpace, true, &found, chosen)
	}
	for i, on := range chosen {
		if on {
			found.bitmaps = append(found.bitmaps, i)
		}
	}
	tell := func(number uint32, name string) error {
		if list {
			number = 0
		}
		return h.reply(o, wire.RepMetaContext, binary.BigEndian.AppendUint32(nil, number), []byte(name))
	}
	if found.base {
		if err := tell(contextBase, wire.BaseAllocation); err != nil {
			return err
		}
	}
	if found.depth {
		if err := tell(contextDepth, allocationDepth); err != nil {
			return err
		}
	}
	for _, i := range found.bitmaps {
		if err := tell(contextDirty+uint32(i), wire.DirtyBitmap+x.bitmaps[i].Name()); err != nil {
			return err
		}
	}
	if !list {
		h.contexts = found
	}
	return h.reply(o, wire.RepAck)
}

// match notes the contexts that a query means. Only listing knows parts of names.
func (x *offer) match(query string, list bool, found *contexts, chosen []bool) {
	all := func(part string) bool { return list && query == part }
	if query == wire.BaseAllocation || all("base:") {
		found.base = true
	}
	if x.depth && (query == allocationDepth || all(qemuSpace)) {
		found.depth = true
	}
	name, ok := strings.CutPrefix(query, wire.DirtyBitmap)
	for i, b := range x.bitmaps {
		if all(qemuSpace) || all(wire.DirtyBitmap) || ok && name == b.Name() {
			chosen[i] = true
		}
	}
}
