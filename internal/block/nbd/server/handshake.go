package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"govmd/internal/block/nbd/wire"
	"govmd/internal/sock"
)

// maxOption bounds the data of an option that is looked at; longer ones, up to
// wire.MaxData, are passed over and refused.
const maxOption = 64 << 10

// handshake is the negotiation with a client.
type handshake struct {
	*listening
	conn  net.Conn // with TLS, once that is negotiated
	raw   net.Conn // what was accepted
	flags uint32   // the client's
	data  []byte   // of options

	tls        bool
	structured bool
	contexts   contexts
	offer      *offer // what the client has chosen; nil: it has gone
}

var errAbort = errors.New("the client has had enough")

// name is the chosen export's.
func (h *handshake) name() string {
	if h.offer == nil {
		return ""
	}
	return h.offer.name
}

// negotiate leads to where requests are sent. With no error and no offer the client
// has ended the negotiation.
func (h *handshake) negotiate() error {
	var p [18]byte
	be := binary.BigEndian
	be.PutUint64(p[:], wire.Magic)
	be.PutUint64(p[8:], wire.OptMagic)
	be.PutUint16(p[16:], wire.FixedNewstyle|wire.NoZeroes)
	if _, err := h.conn.Write(p[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(h.conn, p[:4]); err != nil {
		return err
	}
	h.flags = be.Uint32(p[:])
	if h.flags&^(wire.FixedNewstyle|wire.NoZeroes) != 0 {
		return fmt.Errorf("unknown client flags 0x%x", h.flags)
	}
	for h.offer == nil {
		if _, err := io.ReadFull(h.conn, p[:16]); err != nil {
			return err
		}
		if m := be.Uint64(p[:]); m != wire.OptMagic {
			return fmt.Errorf("bad magic 0x%016x of an option", m)
		}
		switch err := h.option(wire.Option(be.Uint32(p[8:])), be.Uint32(p[12:])); {
		case errors.Is(err, errAbort):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// option takes one option, of which n bytes follow.
func (h *handshake) option(o wire.Option, n uint32) error {
	if n > wire.MaxData {
		return fmt.Errorf("option %d (%s) of %d bytes", o, o, n)
	}
	if n > maxOption {
		if _, err := io.CopyN(io.Discard, h.conn, int64(n)); err != nil {
			return err
		}
		return h.refuse(o, wire.RepErrTooBig, "option %d (%s) is too long", o, o)
	}
	if uint32(cap(h.data)) < n {
		h.data = make([]byte, n)
	}
	data := h.data[:n]
	if _, err := io.ReadFull(h.conn, data); err != nil {
		return err
	}
	fixed := h.flags&wire.FixedNewstyle != 0
	switch {
	case h.creds != nil && !h.tls:
		return h.beforeTLS(o, data)
	case o == wire.OptExportName:
		return h.exportName(data)
	case !fixed:
		return fmt.Errorf("option %d (%s) of a client that knows only one", o, o)
	}
	switch o {
	case wire.OptAbort:
		_ = h.reply(o, wire.RepAck) // the client need not wait for it
		return errAbort
	case wire.OptList:
		return h.list(data)
	case wire.OptInfo, wire.OptGo:
		return h.info(o, data)
	case wire.OptStartTLS:
		if len(data) > 0 {
			return h.unwanted(o)
		}
		if h.tls {
			return h.refuse(o, wire.RepErrInvalid, "TLS already enabled")
		}
		return h.refuse(o, wire.RepErrPolicy, "TLS not configured")
	case wire.OptStructuredReply:
		if len(data) > 0 {
			return h.unwanted(o)
		}
		if h.structured {
			return h.refuse(o, wire.RepErrInvalid, "structured reply already negotiated")
		}
		h.structured = true
		return h.reply(o, wire.RepAck)
	case wire.OptListMetaContext, wire.OptSetMetaContext:
		return h.metaContexts(o, data)
	}
	return h.refuse(o, wire.RepErrUnsup, "Unsupported option %d (%s)", o, o)
}

// beforeTLS takes an option of a client that has to begin TLS first.
func (h *handshake) beforeTLS(o wire.Option, data []byte) error {
	switch {
	case o == wire.OptExportName, h.flags&wire.FixedNewstyle == 0:
		return errors.New("the client does not begin TLS")
	case o == wire.OptAbort:
		_ = h.reply(o, wire.RepAck)
		return errAbort
	case o != wire.OptStartTLS:
		return h.refuse(o, wire.RepErrTLSReqd, "Option 0x%x not permitted before TLS", uint32(o))
	case len(data) > 0:
		return h.unwanted(o)
	}
	if err := h.reply(o, wire.RepAck); err != nil {
		return err
	}
	t, err := sock.ServeTLS(h.ctx, h.conn, h.creds, h.authz)
	if err != nil {
		return err
	}
	h.conn, h.tls = t, true
	return nil
}

func (h *handshake) unwanted(o wire.Option) error {
	return h.refuse(o, wire.RepErrInvalid, "option %d (%s) should have zero length", o, o)
}

func (h *handshake) refuse(o wire.Option, r wire.Rep, format string, args ...any) error {
	return h.reply(o, r, []byte(fmt.Sprintf(format, args...)))
}

// reply sends one reply to an option, with data that is in parts.
func (h *handshake) reply(o wire.Option, r wire.Rep, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	be := binary.BigEndian
	out := make([]byte, 0, 20+n)
	out = be.AppendUint64(out, wire.OptReplyMagic)
	out = be.AppendUint32(out, uint32(o))
	out = be.AppendUint32(out, uint32(r))
	out = be.AppendUint32(out, uint32(n))
	for _, p := range parts {
		out = append(out, p...)
	}
	_, err := h.conn.Write(out)
	return err
}

// list tells all exports.
func (h *handshake) list(data []byte) error {
	if len(data) > 0 {
		return h.unwanted(wire.OptList)
	}
	for _, x := range h.server.all() {
		length := binary.BigEndian.AppendUint32(nil, uint32(len(x.name)))
		if err := h.reply(wire.OptList, wire.RepServer, length, []byte(x.name), []byte(x.description)); err != nil {
			return err
		}
	}
	return h.reply(wire.OptList, wire.RepAck)
}

// exportName is the option that has no answer but the export.
func (h *handshake) exportName(name []byte) error {
	x := h.server.find(string(name))
	if x == nil || !h.choose(x) {
		return fmt.Errorf("export '%.80s' not present", name)
	}
	be := binary.BigEndian
	out := be.AppendUint64(nil, uint64(x.export.Node().Length()))
	out = be.AppendUint16(out, x.transmission(h.structured))
	if h.flags&wire.NoZeroes == 0 {
		out = append(out, make([]byte, 124)...)
	}
	_, err := h.conn.Write(out)
	return err
}

// choose makes the client one of x's, which ends the negotiation; false: x has ended.
// Contexts that were set for another export are void.
func (h *handshake) choose(x *offer) bool {
	if !x.enter(h.raw) {
		return false
	}
	h.offer = x
	if h.contexts.offer != x || !h.structured {
		h.contexts = contexts{}
	}
	return true
}

// cut takes n bytes from the beginning of p.
func cut(p *[]byte, n uint32) ([]byte, bool) {
	if uint64(len(*p)) < uint64(n) {
		return nil, false
	}
	head := (*p)[:n]
	*p = (*p)[n:]
	return head, true
}

// text takes a text behind its length.
func text(p *[]byte) (string, bool) {
	n, ok := cut(p, 4)
	if !ok {
		return "", false
	}
	s, ok := cut(p, binary.BigEndian.Uint32(n))
	return string(s), ok && len(s) <= wire.MaxString
}

// info is the options INFO and GO.
func (h *handshake) info(o wire.Option, data []byte) error {
	be := binary.BigEndian
	name, ok := text(&data)
	count, two := cut(&data, 2)
	if !ok || !two || len(data) != 2*int(be.Uint16(count)) {
		return h.refuse(o, wire.RepErrInvalid, "option %d (%s) is malformed", o, o)
	}
	x := h.server.find(name)
	if x == nil || o == wire.OptGo && !h.choose(x) {
		return h.refuse(o, wire.RepErrUnknown, "export '%s' not present", name)
	}
	var sendName, sendDescription bool
	for ; len(data) > 0; data = data[2:] {
		switch be.Uint16(data) {
		case wire.InfoName:
			sendName = true
		case wire.InfoDescription:
			sendDescription = x.description != ""
		}
	}
	kind := func(k uint16) []byte { return be.AppendUint16(nil, k) }
	if sendName {
		if err := h.reply(o, wire.RepInfo, kind(wire.InfoName), []byte(x.name)); err != nil {
			return err
		}
	}
	if sendDescription {
		if err := h.reply(o, wire.RepInfo, kind(wire.InfoDescription), []byte(x.description)); err != nil {
			return err
		}
	}
	sizes := kind(wire.InfoBlockSize)
	sizes = be.AppendUint32(sizes, 1) // the node sees to alignment
	sizes = be.AppendUint32(sizes, x.preferred())
	sizes = be.AppendUint32(sizes, wire.MaxData)
	if err := h.reply(o, wire.RepInfo, sizes); err != nil {
		return err
	}
	what := kind(wire.InfoExport)
	what = be.AppendUint64(what, uint64(x.export.Node().Length()))
	what = be.AppendUint16(what, x.transmission(h.structured))
	if err := h.reply(o, wire.RepInfo, what); err != nil {
		return err
	}
	return h.reply(o, wire.RepAck)
}
