package chardev

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// backendArg is the protocol's ChardevBackend.
type backendArg struct {
	Type   string `qmp:"type"`
	Branch any    `qmp:",branch"`
}

var backendUnion = qmp.NewUnion("ChardevBackend", "type")

// QMPUnion implements qmp.Unioner.
func (backendArg) QMPUnion() *qmp.Union { return backendUnion }

type commonArgs struct {
	LogFile   *string `qmp:"logfile"`
	LogAppend *bool   `qmp:"logappend"`
}

func (c commonArgs) common() LogConfig {
	var l LogConfig
	if c.LogFile != nil {
		l.File = *c.LogFile
	}
	l.Append = on(c.LogAppend, false)
	return l
}

// backendData are the settings of a back end as a client sends them.
type backendData interface {
	common() LogConfig
	config() (any, error)
}

type plainArgs struct{ commonArgs }

type nullArgs struct{ plainArgs }

func (*nullArgs) config() (any, error) { return NullConfig{}, nil }

type ptyArgs struct{ plainArgs }

func (*ptyArgs) config() (any, error) { return PTYConfig{}, nil }

type fileArgs struct {
	commonArgs
	In     *string `qmp:"in"`
	Out    string  `qmp:"out"`
	Append *bool   `qmp:"append"`
}

func (a *fileArgs) config() (any, error) {
	f := FileConfig{Out: a.Out, Append: on(a.Append, false)}
	if a.In != nil {
		f.In = *a.In
	}
	return f, nil
}

type hostdevArgs struct {
	commonArgs
	Device string `qmp:"device"`
}

type pipeArgs struct{ hostdevArgs }

func (a *pipeArgs) config() (any, error) { return PipeConfig{a.Device}, nil }

type serialArgs struct{ hostdevArgs }

func (a *serialArgs) config() (any, error) { return SerialConfig{a.Device}, nil }

type stdioArgs struct {
	commonArgs
	Signal *bool `qmp:"signal"`
}

func (a *stdioArgs) config() (any, error) { return StdioConfig{on(a.Signal, true)}, nil }

type ringArgs struct {
	commonArgs
	Size *int64 `qmp:"size"`
}

func (a *ringArgs) config() (any, error) {
	if a.Size == nil {
		return RingConfig{}, nil
	}
	return RingConfig{Size: uint64(*a.Size)}, nil
}

type memoryArgs struct{ ringArgs }

func (a *memoryArgs) config() (any, error) {
	cfg, err := a.ringArgs.config()
	ring, _ := cfg.(RingConfig)
	ring.Memory = true
	return ring, err
}

type muxArgs struct {
	commonArgs
	Chardev string `qmp:"chardev"`
}

func (a *muxArgs) config() (any, error) { return MuxConfig{a.Chardev}, nil }

type udpArgs struct {
	commonArgs
	Remote sock.Legacy  `qmp:"remote"`
	Local  *sock.Legacy `qmp:"local"`
}

func (a *udpArgs) config() (any, error) {
	u := UDPConfig{Remote: a.Remote.Address()}
	if a.Local != nil {
		local := a.Local.Address()
		u.Local = &local
	}
	return u, nil
}

type socketArgs struct {
	commonArgs
	Addr      sock.Legacy `qmp:"addr"`
	Creds     *string     `qmp:"tls-creds"`
	Authz     *string     `qmp:"tls-authz"`
	Server    *bool       `qmp:"server"`
	Wait      *bool       `qmp:"wait"`
	NoDelay   *bool       `qmp:"nodelay"`
	Telnet    *bool       `qmp:"telnet"`
	TN3270    *bool       `qmp:"tn3270"`
	WebSocket *bool       `qmp:"websocket"`
	Reconnect *int64      `qmp:"reconnect"`
}

func (a *socketArgs) config() (any, error) {
	switch {
	case on(a.TN3270, false):
		return nil, fmt.Errorf("'tn3270' is not supported")
	case on(a.WebSocket, false):
		return nil, fmt.Errorf("'websocket' is not supported")
	}
	s := SocketConfig{
		Addr: a.Addr.Address(), Server: on(a.Server, true), NoDelay: on(a.NoDelay, false),
		Wait: on(a.Wait, false), Telnet: on(a.Telnet, false),
	}
	if a.Creds != nil {
		s.Creds = *a.Creds
	}
	if a.Authz != nil {
		s.AuthzID = *a.Authz
	}
	if a.Reconnect != nil {
		if s.Reconnect = int(*a.Reconnect); *a.Reconnect < 0 || *a.Reconnect > 1<<31-1 {
			return nil, fmt.Errorf("'reconnect' has to be a number of seconds that is not negative")
		}
	}
	if !s.Server && a.Wait != nil {
		s.Wait = true // refused
	}
	return s, nil
}

func on(b *bool, def bool) bool {
	if b == nil {
		return def
	}
	return *b
}

func init() {
	branch[nullArgs]("null")
	branch[ptyArgs]("pty")
	branch[fileArgs]("file")
	branch[pipeArgs]("pipe")
	branch[serialArgs]("serial")
	branch[stdioArgs]("stdio")
	branch[ringArgs]("ringbuf")
	branch[memoryArgs]("memory")
	branch[muxArgs]("mux")
	branch[udpArgs]("udp")
	branch[socketArgs]("socket")
}

// dataOf returns the settings within a branch of backendUnion.
var dataOf []func(branch any) backendData

func branch[T any, P interface {
	*T
	backendData
}](kind string) {
	qmp.AddBranch[qmp.Data[T]](backendUnion, kind)
	dataOf = append(dataOf, func(branch any) backendData {
		if d, ok := branch.(*qmp.Data[T]); ok {
			return P(&d.Data)
		}
		return nil
	})
}

// config makes a Config of what a client sent.
func (b *backendArg) config(id string) (Config, error) {
	for _, f := range dataOf {
		if d := f(b.Branch); d != nil {
			backend, err := d.config()
			return Config{ID: id, Backend: backend, Log: d.common()}, err
		}
	}
	return Config{}, fmt.Errorf("chardev back end '%s' is not supported", b.Type)
}

type addArgs struct {
	ID      string     `qmp:"id"`
	Backend backendArg `qmp:"backend"`
}

// addReturn is the protocol's ChardevReturn.
type addReturn struct {
	PTY string `qmp:"pty,optional"`
}

type idArgs struct {
	ID string `qmp:"id"`
}

type info struct {
	Label    string `qmp:"label"`
	Filename string `qmp:"filename"`
	Open     bool   `qmp:"frontend-open"`
}

type backendInfo struct {
	Name string `qmp:"name"`
}

// dataFormat is the protocol's DataFormat.
type dataFormat string

// EnumValues implements qmp.Enum.
func (dataFormat) EnumValues() []string { return []string{"utf8", "base64"} }

type writeArgs struct {
	Device string      `qmp:"device"`
	Data   string      `qmp:"data"`
	Format *dataFormat `qmp:"format"`
}

type readArgs struct {
	Device string      `qmp:"device"`
	Size   int64       `qmp:"size"`
	Format *dataFormat `qmp:"format"`
}

// Commands returns the commands about character devices.
func (r *Registry) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.NewAsync("chardev-add", func(ctx *qmp.Context, a *addArgs, reply *qmp.Reply[addReturn]) {
			r.command(ctx, a, reply, r.AddFor)
		}),
		qmp.NewAsync("chardev-change", func(ctx *qmp.Context, a *addArgs, reply *qmp.Reply[addReturn]) {
			r.command(ctx, a, reply, r.ChangeFor)
		}),
		qmp.NewAsync("chardev-remove", func(_ *qmp.Context, a *idArgs, reply *qmp.Reply[qmp.None]) {
			r.removeFor(a.ID, func(err error) { reply.Finish(qmp.None{}, err) })
		}),
		qmp.New("chardev-send-break", func(_ *qmp.Context, a *idArgs) (qmp.None, error) {
			return qmp.None{}, r.sendBreak(a.ID)
		}),
		qmp.New("query-chardev", func(*qmp.Context, *qmp.None) ([]info, error) { return r.infos(), nil }, qmp.NoLane),
		qmp.New("query-chardev-backends", func(*qmp.Context, *qmp.None) ([]backendInfo, error) {
			var list []backendInfo
			for _, name := range Backends() {
				list = append(list, backendInfo{name})
			}
			return list, nil
		}, qmp.NoLane),
		qmp.New("ringbuf-write", func(_ *qmp.Context, a *writeArgs) (qmp.None, error) { return qmp.None{}, r.ringWrite(a) }),
		qmp.New("ringbuf-read", func(_ *qmp.Context, a *readArgs) (string, error) { return r.ringRead(a) }),
	}
}

// opener is AddFor or ChangeFor.
type opener func(ctx *qmp.Context, cfg Config, done func(*Chardev, error))

func (r *Registry) command(ctx *qmp.Context, a *addArgs, reply *qmp.Reply[addReturn], open opener) {
	done := func(c *Chardev, err error) {
		if err != nil {
			reply.Fail(asClients(a.ID, err))
			return
		}
		reply.Return(addReturn{c.PTY()})
	}
	cfg, err := a.Backend.config(a.ID)
	if err != nil {
		done(nil, err)
		return
	}
	open(ctx, cfg, done)
}

// asClients is an error of opening a device as clients know it.
func asClients(id string, err error) error {
	if errors.As(err, new(refusal)) {
		return err
	}
	return fmt.Errorf("Failed to add chardev '%s': %w", id, err)
}

// removeFor is Remove for a command: it is called on the control lane and does not
// wait for the device's end.
func (r *Registry) removeFor(id string, done func(error)) {
	c, err := r.take(id)
	if err != nil {
		done(err)
		return
	}
	r.closeLater(c, func() { done(nil) })
}

// closeLater closes a device beside the control lane, then calls done.
func (r *Registry) closeLater(c *Chardev, done func()) {
	end := func(context.Context) {
		c.close()
		done()
	}
	if !r.background(end) {
		end(context.Background())
	}
}

func (r *Registry) sendBreak(id string) error {
	c := r.Get(id)
	if c == nil {
		return notFound(id)
	}
	c.sendBreak()
	return nil
}

func (r *Registry) infos() []info {
	list := []info{}
	for _, c := range r.All() {
		list = append(list, info{c.id, c.Filename(), c.FrontendOpen()})
	}
	return list
}

func (r *Registry) ring(id string) (*ringBackend, error) {
	c := r.Get(id)
	if c == nil {
		return nil, fmt.Errorf("Device '%s' not found", id)
	}
	b, ok := c.backend.(*ringBackend)
	if !ok {
		return nil, fmt.Errorf("%s is not a ringbuf device", id)
	}
	return b, nil
}

func (r *Registry) ringWrite(a *writeArgs) error {
	b, err := r.ring(a.Device)
	if err != nil {
		return err
	}
	data := []byte(a.Data)
	if a.Format != nil && *a.Format == "base64" {
		// The decoder lets both kinds of line ends pass: what is in lines has \n.
		data, err = base64.StdEncoding.DecodeString(a.Data)
		if err != nil || strings.Contains(a.Data, "\r") {
			return fmt.Errorf("Base64 data contains invalid characters")
		}
	}
	b.output(data)
	return nil
}

func (r *Registry) ringRead(a *readArgs) (string, error) {
	b, err := r.ring(a.Device)
	if err != nil {
		return "", err
	}
	if a.Size <= 0 {
		return "", fmt.Errorf("size must be greater than zero")
	}
	data := b.read(uint64(a.Size))
	if a.Format != nil && *a.Format == "base64" {
		return base64.StdEncoding.EncodeToString(data), nil
	}
	return validText(data), nil
}

// validText returns data as text; each byte that is no UTF-8 is replaced.
func validText(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	return string([]rune(string(data)))
}
