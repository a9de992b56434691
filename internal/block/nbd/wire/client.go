package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// ClientOptions say what a client wants.
type ClientOptions struct {
	Export string
	// Contexts are the meta contexts that the client wants to ask the status of;
	// those that the server does not have are left out of Export.Contexts.
	Contexts []string
	// StartTLS, if not nil, demands TLS: it makes the handshake and returns the
	// connection to go on with.
	StartTLS func() (io.ReadWriter, error)
}

// Export is what a server says of an export.
type Export struct {
	Name, Description string
	Size              int64
	Flags             uint16
	Structured        bool // replies are
	// MinBlock, PrefBlock and MaxBlock are in bytes; 0 where the server has not said.
	MinBlock, PrefBlock, MaxBlock uint32
	Contexts                      map[string]uint32 // numbers of the meta contexts
}

// Has reports whether the export has a flag.
func (e *Export) Has(flag uint16) bool { return e.Flags&flag != 0 }

// errUnsup is what an option that the server does not know fails with.
var errUnsup = errors.New("the server does not know the option")

// client is a negotiation under way.
type client struct {
	rw    io.ReadWriter
	fixed bool // the server answers to options
	terse bool // no padding
}

// Negotiate begins a client's connection, up to where it can send requests. It
// returns the connection to go on with, which is another with TLS.
func Negotiate(rw io.ReadWriter, o *ClientOptions) (io.ReadWriter, *Export, error) {
	if len(o.Export) > MaxName {
		return nil, nil, errors.New("export name too long to send to server")
	}
	for _, c := range o.Contexts {
		if len(c) > MaxName {
			return nil, nil, fmt.Errorf("the name of meta context '%.40s...' is too long to send to server", c)
		}
	}
	c := &client{rw: rw}
	old, err := c.greet()
	switch {
	case err != nil:
		return nil, nil, err
	case old && o.StartTLS != nil, o.StartTLS != nil && !c.fixed:
		return nil, nil, errors.New("Server does not support STARTTLS")
	case old:
		e, err := c.oldstyle(o)
		return c.rw, e, err
	}
	if o.StartTLS != nil {
		if err := c.startTLS(o); err != nil {
			return nil, nil, err
		}
	}
	e := &Export{Name: o.Export}
	if !c.fixed {
		return c.rw, e, c.exportName(e)
	}
	switch err := c.simple(OptStructuredReply, nil); {
	case err == nil:
		e.Structured = true
	case !errors.Is(err, errUnsup):
		return nil, nil, err
	}
	if e.Structured && len(o.Contexts) > 0 {
		if err := c.metaContexts(e, o.Contexts); err != nil {
			return nil, nil, err
		}
	}
	err = c.info(e)
	if errors.Is(err, errUnsup) {
		err = c.exportName(e)
	}
	return c.rw, e, err
}

func (c *client) read(p []byte, what string) error {
	if _, err := io.ReadFull(c.rw, p); err != nil {
		return fmt.Errorf("Failed to read %s: %w", what, eof(err))
	}
	return nil
}

// eof makes an end in the middle of something what it is.
func eof(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *client) write(p []byte, what string) error {
	if _, err := c.rw.Write(p); err != nil {
		return fmt.Errorf("Failed to send %s: %w", what, err)
	}
	return nil
}

// greet reads the server's greeting and answers it.
func (c *client) greet() (old bool, err error) {
	var p [18]byte
	if err := c.read(p[:16], "initial magic"); err != nil {
		return false, err
	}
	if m := binary.BigEndian.Uint64(p[:]); m != Magic {
		return false, fmt.Errorf("Bad initial magic received: 0x%016x", m)
	}
	switch m := binary.BigEndian.Uint64(p[8:]); m {
	case OldMagic:
		return true, nil
	case OptMagic:
	default:
		return false, fmt.Errorf("Bad server magic received: 0x%016x", m)
	}
	if err := c.read(p[16:], "server flags"); err != nil {
		return false, err
	}
	theirs := binary.BigEndian.Uint16(p[16:])
	c.fixed, c.terse = theirs&FixedNewstyle != 0, theirs&NoZeroes != 0
	var ours [4]byte
	binary.BigEndian.PutUint32(ours[:], uint32(theirs&(FixedNewstyle|NoZeroes)))
	return false, c.write(ours[:], "client flags")
}

// oldstyle reads what servers of the old style tell of their only export.
func (c *client) oldstyle(o *ClientOptions) (*Export, error) {
	if o.Export != "" {
		return nil, errors.New("Server does not support non-empty export names")
	}
	var p [8 + 4 + 124]byte
	if err := c.read(p[:], "export length"); err != nil {
		return nil, err
	}
	e := &Export{Flags: uint16(binary.BigEndian.Uint32(p[8:]))}
	return e, e.setSize(binary.BigEndian.Uint64(p[:]))
}

func (e *Export) setSize(n uint64) error {
	if n > 1<<63-1 {
		return fmt.Errorf("the export's size of %d bytes is too large", n)
	}
	e.Size = int64(n)
	return nil
}

// send sends an option.
func (c *client) send(o Option, data []byte) error {
	p := make([]byte, 16, 16+len(data))
	binary.BigEndian.PutUint64(p, OptMagic)
	binary.BigEndian.PutUint32(p[8:], uint32(o))
	binary.BigEndian.PutUint32(p[12:], uint32(len(data)))
	return c.write(append(p, data...), "option request header")
}

// maxReply bounds what a server may say in one reply: a name and a text.
const maxReply = 4 + MaxName + MaxString

// reply reads one reply to o; errors of the server come as errors.
func (c *client) reply(o Option) (Rep, []byte, error) {
	var p [20]byte
	if err := c.read(p[:], "option reply"); err != nil {
		return 0, nil, err
	}
	be := binary.BigEndian
	if be.Uint64(p[:]) != OptReplyMagic {
		return 0, nil, errors.New("Unexpected option reply magic")
	}
	if got := Option(be.Uint32(p[8:])); got != o {
		return 0, nil, fmt.Errorf("Unexpected option type %d (%s), expected %d (%s)", got, got, o, o)
	}
	rep, n := Rep(be.Uint32(p[12:])), be.Uint32(p[16:])
	if n > maxReply {
		return 0, nil, fmt.Errorf("server's reply to option %d (%s) is too long: %d bytes", o, o, n)
	}
	data := make([]byte, n)
	if err := c.read(data, "option reply"); err != nil {
		return 0, nil, err
	}
	if rep.IsError() {
		return 0, nil, refused(o, rep, data)
	}
	return rep, data, nil
}

// refused is the server's error in words.
func refused(o Option, rep Rep, text []byte) error {
	var err error
	switch rep {
	case RepErrUnsup:
		return fmt.Errorf("Unsupported option type %d (%s): %w", o, o, errUnsup)
	case RepErrPolicy:
		err = fmt.Errorf("Denied by server for option %d (%s)", o, o)
	case RepErrInvalid:
		err = fmt.Errorf("Invalid parameters for option %d (%s)", o, o)
	case RepErrPlatform:
		err = fmt.Errorf("Server lacks support for option %d (%s)", o, o)
	case RepErrTLSReqd:
		err = fmt.Errorf("Server requires TLS for option %d (%s): give tls-creds", o, o)
	case RepErrUnknown:
		err = errors.New("Requested export not available")
	case RepErrShutdown:
		err = fmt.Errorf("Server shutting down before option %d (%s)", o, o)
	case RepErrBlockSizeReq:
		err = fmt.Errorf("Server requires INFO_BLOCK_SIZE for option %d (%s)", o, o)
	default:
		err = fmt.Errorf("Unknown error code when asking for option %d (%s)", o, o)
	}
	if len(text) > 0 && utf8.Valid(text) {
		return fmt.Errorf("%w (server reported: %s)", err, printable(text))
	}
	return err
}

// printable is the server's text without what a terminal would act upon.
func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, string(text))
}

// simple is an option that is acknowledged or not.
func (c *client) simple(o Option, data []byte) error {
	if err := c.send(o, data); err != nil {
		return err
	}
	rep, rest, err := c.reply(o)
	if err == nil && (rep != RepAck || len(rest) > 0) {
		err = fmt.Errorf("Unexpected reply type %d to option %d (%s)", rep, o, o)
	}
	return err
}

func (c *client) startTLS(o *ClientOptions) error {
	if err := c.simple(OptStartTLS, nil); err != nil {
		if errors.Is(err, errUnsup) {
			return errors.New("Server does not support STARTTLS")
		}
		return err
	}
	rw, err := o.StartTLS()
	c.rw = rw
	return err
}

func appendText(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(p, uint32(len(s))), s...)
}

// maxReplies bounds how many replies one option has: a server could go on for ever.
const maxReplies = 64

func (c *client) metaContexts(e *Export, wanted []string) error {
	data := appendText(nil, e.Name)
	data = binary.BigEndian.AppendUint32(data, uint32(len(wanted)))
	for _, w := range wanted {
		data = appendText(data, w)
	}
	if err := c.send(OptSetMetaContext, data); err != nil {
		return err
	}
	e.Contexts = map[string]uint32{}
	for range maxReplies {
		rep, data, err := c.reply(OptSetMetaContext)
		switch {
		case errors.Is(err, errUnsup):
			return nil
		case err != nil:
			return err
		case rep == RepAck:
			return nil
		case rep != RepMetaContext || len(data) < 4:
			return fmt.Errorf("Unexpected reply type %d to option %d (%s)", rep, OptSetMetaContext, OptSetMetaContext)
		}
		name := string(data[4:])
		if !slices.Contains(wanted, name) {
			return fmt.Errorf("server gave a meta context '%.40s' that was not asked for", printable(data[4:]))
		}
		e.Contexts[name] = binary.BigEndian.Uint32(data)
	}
	return errors.New("server does not come to the end of its meta contexts")
}

// info is the option GO.
func (c *client) info(e *Export) error {
	data := appendText(nil, e.Name)
	data = append(data, 0, 1, 0, InfoBlockSize)
	if err := c.send(OptGo, data); err != nil {
		return err
	}
	seen := false
	for range maxReplies {
		rep, data, err := c.reply(OptGo)
		switch {
		case err != nil:
			return err
		case rep == RepAck && !seen:
			return errors.New("broken server omitted NBD_INFO_EXPORT")
		case rep == RepAck:
			return nil
		case rep != RepInfo || len(data) < 2:
			return fmt.Errorf("Unexpected reply type %d to option %d (%s)", rep, OptGo, OptGo)
		}
		kind := binary.BigEndian.Uint16(data)
		if err := e.addInfo(kind, data[2:]); err != nil {
			return err
		}
		seen = seen || kind == InfoExport
	}
	return errors.New("server does not come to the end of its information")
}

func (e *Export) addInfo(kind uint16, p []byte) error {
	be := binary.BigEndian
	switch kind {
	case InfoExport:
		if len(p) != 10 {
			return fmt.Errorf("server's information of an export has %d bytes, not 10", len(p))
		}
		e.Flags = be.Uint16(p[8:])
		return e.setSize(be.Uint64(p))
	case InfoDescription:
		e.Description = printable(p)
	case InfoBlockSize:
		if len(p) != 12 {
			return fmt.Errorf("server's information of block sizes has %d bytes, not 12", len(p))
		}
		e.MinBlock, e.PrefBlock, e.MaxBlock = be.Uint32(p), be.Uint32(p[4:]), be.Uint32(p[8:])
		return e.checkBlocks()
	}
	return nil
}

func (e *Export) checkBlocks() error {
	power := func(n uint32) bool { return n != 0 && n&(n-1) == 0 }
	switch {
	case !power(e.MinBlock) || e.MinBlock > 64<<10:
		return fmt.Errorf("server requires block sizes of %d bytes, which is no power of two or above 64 KiB", e.MinBlock)
	case !power(e.PrefBlock) || e.PrefBlock < e.MinBlock:
		return fmt.Errorf("server's preferred block size of %d bytes is no power of two or below the minimum", e.PrefBlock)
	case e.MaxBlock < e.MinBlock:
		return fmt.Errorf("server's maximum block size of %d bytes is below the minimum", e.MaxBlock)
	}
	e.MaxBlock -= e.MaxBlock % e.MinBlock
	return nil
}

// exportName is the option of servers that know no other.
func (c *client) exportName(e *Export) error {
	if err := c.send(OptExportName, []byte(e.Name)); err != nil {
		return err
	}
	n := 10
	if !c.terse {
		n += 124
	}
	p := make([]byte, n)
	if err := c.read(p, "export length"); err != nil {
		return err
	}
	e.Flags = binary.BigEndian.Uint16(p[8:])
	return e.setSize(binary.BigEndian.Uint64(p))
}
