package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// scripted is a server whose answers are known beforehand.
type scripted struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *scripted) Write(p []byte) (int, error) { return s.out.Write(p) }

func join(parts ...any) []byte {
	be := binary.BigEndian
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case uint16:
			b = be.AppendUint16(b, p)
		case uint32:
			b = be.AppendUint32(b, p)
		case uint64:
			b = be.AppendUint64(b, p)
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func greeting(flags uint16) []byte { return join(uint64(Magic), uint64(OptMagic), flags) }

func rep(o Option, r Rep, parts ...any) []byte {
	body := join(parts...)
	return join(uint64(OptReplyMagic), uint32(o), uint32(r), uint32(len(body)), body)
}

func exportInfo(size uint64, flags uint16) []byte {
	return rep(OptGo, RepInfo, uint16(InfoExport), size, flags)
}

func TestNegotiate(t *testing.T) {
	modern := func(parts ...any) []byte { return join(append([]any{greeting(3)}, parts...)...) }
	ack := func(o Option) []byte { return rep(o, RepAck) }
	pad := string(make([]byte, 124))
	for _, tc := range []struct {
		name   string
		server []byte
		export string
		want   Export
		err    string
	}{
		{"modern", modern(ack(OptStructuredReply), rep(OptSetMetaContext, RepMetaContext, uint32(5), BaseAllocation), ack(OptSetMetaContext),
			exportInfo(4096, 3), rep(OptGo, RepInfo, uint16(InfoBlockSize), uint32(512), uint32(4096), uint32(1<<20+100)), ack(OptGo)), "x",
			Export{Name: "x", Size: 4096, Flags: 3, Structured: true, MinBlock: 512, PrefBlock: 4096, MaxBlock: 1 << 20, Contexts: map[string]uint32{BaseAllocation: 5}}, ""},
		{"simple replies only", modern(rep(OptStructuredReply, RepErrUnsup), exportInfo(4096, 3), ack(OptGo)), "x", Export{Name: "x", Size: 4096, Flags: 3}, ""},
		{"export name only", modern(rep(OptStructuredReply, RepErrUnsup), rep(OptGo, RepErrUnsup), uint64(4096), uint16(5)), "x", Export{Name: "x", Size: 4096, Flags: 5}, ""},
		{"newstyle that is not fixed", join(greeting(0), uint64(4096), uint16(5), pad), "x", Export{Name: "x", Size: 4096, Flags: 5}, ""},
		{"oldstyle", join(uint64(Magic), uint64(OldMagic), uint64(4096), uint32(5), pad), "", Export{Size: 4096, Flags: 5}, ""},
		{"oldstyle has no names", join(uint64(Magic), uint64(OldMagic), uint64(4096), uint32(5), pad), "x", Export{}, "does not support non-empty export names"},
		{"no NBD", []byte("SSH-2.0-OpenSSH_9.2p1\r\n"), "", Export{}, "Bad initial magic received"},
		{"NBD of no kind", join(uint64(Magic), uint64(1), uint16(0)), "", Export{}, "Bad server magic received"},
		{"cut short", greeting(3)[:9], "", Export{}, "unexpected EOF"},
		{"unknown export", modern(ack(OptStructuredReply), ack(OptSetMetaContext), rep(OptGo, RepErrUnknown, "no\x1b[31m such")), "x", Export{}, "Requested export not available (server reported: no?[31m such)"},
		{"TLS wanted", modern(rep(OptStructuredReply, RepErrTLSReqd)), "x", Export{}, "requires TLS"},
		{"no export in the information", modern(ack(OptStructuredReply), ack(OptSetMetaContext), ack(OptGo)), "x", Export{}, "omitted NBD_INFO_EXPORT"},
		{"too large", modern(ack(OptStructuredReply), ack(OptSetMetaContext), exportInfo(1<<63, 3), ack(OptGo)), "x", Export{}, "too large"},
		{"odd block size", modern(ack(OptStructuredReply), ack(OptSetMetaContext), rep(OptGo, RepInfo, uint16(InfoBlockSize), uint32(3), uint32(4096), uint32(1<<20))), "x", Export{}, "no power of two"},
		{"no block size", modern(ack(OptStructuredReply), ack(OptSetMetaContext), rep(OptGo, RepInfo, uint16(InfoBlockSize), uint32(0), uint32(0), uint32(0))), "x", Export{}, "no power of two"},
		{"a giant reply", modern(join(uint64(OptReplyMagic), uint32(OptStructuredReply), uint32(RepErrUnsup), uint32(1<<30))), "x", Export{}, "too long"},
		{"a reply to another option", modern(ack(OptGo)), "x", Export{}, "Unexpected option type 7 (go), expected 8 (structured reply)"},
		{"a context that was not asked for", modern(ack(OptStructuredReply), rep(OptSetMetaContext, RepMetaContext, uint32(5), "other")), "x", Export{}, "was not asked for"},
		{"contexts without end", modern(ack(OptStructuredReply), bytes.Repeat(rep(OptSetMetaContext, RepMetaContext, uint32(5), BaseAllocation), 200)), "x", Export{}, "does not come to the end"},
		{"information without end", modern(ack(OptStructuredReply), ack(OptSetMetaContext), bytes.Repeat(exportInfo(1, 1), 200)), "x", Export{}, "does not come to the end"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &scripted{in: bytes.NewReader(tc.server)}
			_, e, err := Negotiate(s, &ClientOptions{Export: tc.export, Contexts: []string{BaseAllocation}})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%v, want %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := *e, tc.want; got.Contexts[BaseAllocation] != want.Contexts[BaseAllocation] {
				t.Errorf("contexts: %v, want %v", got.Contexts, want.Contexts)
			}
			e.Contexts, tc.want.Contexts = nil, nil
			if e.Name != tc.want.Name || e.Size != tc.want.Size || e.Flags != tc.want.Flags || e.Structured != tc.want.Structured ||
				e.MinBlock != tc.want.MinBlock || e.PrefBlock != tc.want.PrefBlock || e.MaxBlock != tc.want.MaxBlock {
				t.Errorf("got %+v, want %+v", *e, tc.want)
			}
			if s.in.Len() > 0 {
				t.Errorf("%d bytes of the server's were not read", s.in.Len())
			}
		})
	}
}

func TestNoTLSOnOldServers(t *testing.T) {
	for _, greet := range [][]byte{greeting(0), join(uint64(Magic), uint64(OldMagic)), join(greeting(3), rep(OptStartTLS, RepErrUnsup))} {
		s := &scripted{in: bytes.NewReader(greet)}
		_, _, err := Negotiate(s, &ClientOptions{StartTLS: func() (io.ReadWriter, error) { return nil, errors.New("it went on without TLS") }})
		if err == nil || err.Error() != "Server does not support STARTTLS" {
			t.Error(err)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add(join(greeting(3), rep(OptStructuredReply, RepAck), rep(OptSetMetaContext, RepMetaContext, uint32(5), BaseAllocation),
		rep(OptSetMetaContext, RepAck), exportInfo(4096, 3), rep(OptGo, RepAck)))
	f.Add(join(greeting(0), uint64(4096), uint16(5), string(make([]byte, 124))))
	f.Add(join(uint64(Magic), uint64(OldMagic), uint64(4096), uint32(5), string(make([]byte, 124))))
	f.Fuzz(func(t *testing.T, server []byte) {
		_, e, err := Negotiate(&scripted{in: bytes.NewReader(server)}, &ClientOptions{Contexts: []string{BaseAllocation}})
		if err == nil && (e.Size < 0 || e.MinBlock > 64<<10) {
			t.Errorf("%+v", e)
		}
	})
}

func TestErrnos(t *testing.T) {
	for _, e := range errnos {
		if got := ToErrno(FromErrno(e)); got != e {
			t.Errorf("%d comes back as %d", e, got)
		}
	}
}
