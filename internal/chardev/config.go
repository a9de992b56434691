package chardev

import (
	"errors"
	"fmt"

	"govmd/internal/fd"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// Config describes a character device: its name and its back end's settings,
// one of the XxxConfig types.
type Config struct {
	ID      string
	Backend any
	Mux     bool // several front ends take turns, switched by escape sequences
	Log     LogConfig

	uses *uses // what Registry.resolve has found
}

// LogConfig says where output is logged, apart from where it goes.
type LogConfig struct {
	File   string // "" for nowhere
	Append bool   // rather than replacing what is there
}

// NullConfig is the back end "null": output is dropped, no input comes.
type NullConfig struct{}

// FileConfig is the back end "file".
type FileConfig struct {
	Out    string // output goes here
	Append bool   // rather than replacing what is there
	In     string // input comes from here; "" for none
}

// PipeConfig is the back end "pipe": the named pipes Path.in and Path.out, or Path.
type PipeConfig struct{ Path string }

// PTYConfig is the back end "pty": a new terminal of the host.
type PTYConfig struct{}

// SerialConfig is the back end "serial": a serial line of the host.
type SerialConfig struct{ Path string }

// RingConfig is the back end "ringbuf", also called "memory".
type RingConfig struct {
	Size   uint64 // a power of two, in bytes; 0 for 64 KiB
	Memory bool   // it was asked for by that name
}

// UDPConfig is the back end "udp"; both addresses are internet ones.
type UDPConfig struct {
	Remote sock.Address
	Local  *sock.Address // nil for what the system chooses
}

// StdioConfig is the back end "stdio".
type StdioConfig struct {
	Signal bool // whether Ctrl-C and the like act on the program
}

// SocketConfig is the back end "socket".
type SocketConfig struct {
	Addr      sock.Address
	Server    bool // listen rather than connect
	Wait      bool // a server: wait for the first client before going on
	Telnet    bool
	NoDelay   bool
	Reconnect int    // a client: seconds between attempts, 0 for none
	Creds     string // ID of the TLS credentials, "" for none
	AuthzID   string // ID of the object that decides which clients may, "" for none

	// What Creds and AuthzID name; the Registry sets them.
	TLS   sock.TLSCreds
	Authz sock.Authz
}

// check refuses what does not go together, for all forms of asking.
func (s *SocketConfig) check() error {
	switch {
	case s.Server && s.Reconnect > 0:
		return errors.New("'reconnect' option is incompatible with socket in server listen mode")
	case !s.Server && s.Wait:
		return errors.New("'wait' option is incompatible with socket in client connect mode")
	case s.AuthzID != "" && s.Creds == "":
		return errors.New("'tls_authz' option requires 'tls_creds' option")
	case s.Reconnect > 0 && s.Addr.Type == sock.TypeFD:
		return errors.New("'reconnect' option is incompatible with 'fd'")
	}
	return s.Addr.Check()
}

// resolve looks up what the configuration names, on the control lane once the
// machine is there: ctx is that of the command that asks, nil for the command line.
// done is to be called when the device has been opened or not.
func (r *Registry) resolve(ctx *qmp.Context, cfg *Config) (names *sock.Names, done func(), err error) {
	s, ok := cfg.Backend.(SocketConfig)
	if !ok {
		return nil, func() {}, nil
	}
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	u := &uses{post: r.Post}
	defer func() {
		if err != nil {
			u.end()
		}
	}()
	by := "chardev '" + cfg.ID + "'"
	if s.Creds != "" {
		if s.TLS, err = lookUp(u, r.TLS, s.Creds, by, "No TLS credentials with id '%s'"); err != nil {
			return nil, nil, err
		}
	}
	if s.AuthzID != "" {
		if s.Authz, err = lookUp(u, r.Authz, s.AuthzID, by, "No authorization object with id '%s'"); err != nil {
			return nil, nil, err
		}
	}
	cfg.Backend, cfg.uses = s, u
	names, closeFD, err := r.Names(ctx, s.Addr)
	if err != nil {
		return nil, nil, err
	}
	return names, func() {
		closeFD()
		u.endUnbegun()
	}, nil
}

func lookUp[T any](u *uses, find func(id, by string) (T, func(), error), id, by, missing string) (T, error) {
	if find == nil {
		var none T
		return none, fmt.Errorf(missing, id)
	}
	x, release, err := find(id, by)
	if err == nil {
		u.release = append(u.release, release)
	}
	return x, err
}

// uses are the objects that a device uses. A nil one has none.
type uses struct {
	post    func(func()) bool
	release []func()
	begun   bool // the device is there and ends them
}

func (u *uses) begin() {
	if u != nil {
		u.begun = true
	}
}

// end has the objects released on the control lane.
func (u *uses) end() {
	if u == nil || len(u.release) == 0 {
		return
	}
	release := u.release
	u.release = nil
	all := func() {
		for _, fn := range release {
			fn()
		}
	}
	if u.post == nil {
		all()
	} else {
		u.post(all) // when the lane has ended so have the objects
	}
}

func (u *uses) endUnbegun() {
	if !u.begun {
		u.end()
	}
}

// make returns the back end that cfg asks for. names looks up descriptors.
func (r *Registry) make(cfg Config, names *sock.Names) (backend, error) {
	switch b := cfg.Backend.(type) {
	case NullConfig:
		return nullBackend{}, nil
	case FileConfig:
		return &fileBackend{kind: "file", fds: r.FDs, open: b.open}, nil
	case PipeConfig:
		return &fileBackend{kind: "pipe", fds: r.FDs, open: b.open}, nil
	case PTYConfig:
		return &ptyBackend{}, nil
	case SerialConfig:
		return &ttyBackend{cfg: b, fds: r.FDs}, nil
	case RingConfig:
		return &ringBackend{cfg: b}, nil
	case UDPConfig:
		return &udpBackend{cfg: b}, nil
	case StdioConfig:
		return &stdioBackend{cfg: b, guard: r.Guard}, nil
	case SocketConfig:
		return &socketBackend{cfg: b, names: names, warn: r.warn, yanks: r.Yanks}, nil
	case MuxConfig:
		base := r.Get(b.Chardev)
		if base == nil {
			return nil, fmt.Errorf("mux: base chardev %s not found", b.Chardev)
		}
		return newMux(cfg.ID, base, r.escape()), nil
	}
	return nil, fmt.Errorf("chardev '%s': no such back end", cfg.ID)
}

// Names returns names in which the descriptor that an address may name has been
// looked up already. A client's names belong to its session, and the command line
// has numbers.
func (r *Registry) Names(ctx *qmp.Context, addr sock.Address) (names *sock.Names, done func(), err error) {
	f, ok := addr.Branch.(*sock.FD)
	if !ok {
		return nil, func() {}, nil
	}
	if ctx == nil {
		return &sock.Names{FD: sock.CommandLineFD}, func() {}, nil
	}
	n, err := r.FDs.TakeFor(ctx, f.Name)
	if errors.As(err, new(*fd.NotFoundError)) {
		err = fmt.Errorf("File descriptor named '%s' has not been found", f.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	names, done = sock.Once(n)
	return names, done, nil
}
