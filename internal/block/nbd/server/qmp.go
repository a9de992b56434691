package server

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/block/export"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

type startArgs struct {
	Addr        sock.Legacy `qmp:"addr"`
	Creds       *string     `qmp:"tls-creds"`
	Authz       *string     `qmp:"tls-authz"`
	Connections *uint32     `qmp:"max-connections"` // 0: any number
}

// Settings say where a server listens, and for whom.
type Settings struct {
	Addr         sock.Address
	Creds, Authz string // IDs of objects, "" for none
	Connections  int    // at once; 0: any number
}

// Start starts the server. It is called on the lane, and does not wait: done is
// called there.
func (s *Server) Start(ctx *qmp.Context, set Settings, done func(error)) {
	l, names, unused, err := s.prepare(ctx, set)
	if err != nil {
		done(err)
		return
	}
	s.starting = true
	s.running.Go(func() { // a host's name may take its time
		defer unused()
		ln, err := sock.Listen(context.Background(), set.Addr, names)
		posted := s.cfg.Lane.Post(func() {
			s.starting = false
			if err != nil {
				l.done()
			} else {
				l.ln = ln
				s.run(l, set.Connections)
			}
			done(err)
		})
		if !posted && err == nil {
			_ = ln.Close()
		}
	})
}

// prepare finds what the settings name.
func (s *Server) prepare(ctx *qmp.Context, set Settings) (l *listening, names *sock.Names, unused func(), err error) {
	if s.on != nil || s.starting {
		return nil, nil, nil, errRunning
	}
	if err := set.Addr.Check(); err != nil {
		return nil, nil, nil, err
	}
	var used []func()
	l = &listening{done: func() {
		for _, end := range used {
			end()
		}
	}}
	const by = "the NBD server"
	if set.Creds != "" {
		creds, end, err := s.cfg.TLS(set.Creds, by)
		if err != nil {
			return nil, nil, nil, err
		}
		used, l.creds = append(used, end), creds
		if _, err := creds.ServerTLS(); err != nil {
			l.done()
			return nil, nil, nil, err
		}
	}
	if set.Authz != "" {
		authz, end, err := s.cfg.Authz(set.Authz, by)
		if err != nil {
			l.done()
			return nil, nil, nil, err
		}
		used, l.authz = append(used, end), authz
	}
	names, unused, err = s.cfg.Names(ctx, set.Addr)
	if err != nil {
		l.done()
		return nil, nil, nil, err
	}
	return l, names, unused, nil
}

func (s *Server) start(ctx *qmp.Context, a *startArgs, reply *qmp.Reply[qmp.None]) {
	set := Settings{Addr: a.Addr.Address(), Connections: DefaultConnections}
	if a.Creds != nil {
		set.Creds = *a.Creds
	}
	if a.Authz != nil {
		set.Authz = *a.Authz
	}
	if a.Connections != nil {
		set.Connections = int(*a.Connections)
	}
	s.Start(ctx, set, func(err error) { reply.Finish(qmp.None{}, err) })
}

type addArgs struct {
	Base
	Device   string  `qmp:"device"`
	Writable *bool   `qmp:"writable"`
	Bitmap   *string `qmp:"bitmap"`
}

// add is nbd-server-add: the export has the ID and the name that clients use, and is
// read-only where the node is.
func (s *Server) add(_ *qmp.Context, a *addArgs) (none qmp.None, err error) {
	if s.on == nil {
		return none, errNotRunning
	}
	n, err := s.cfg.Exports.Graph().Lookup(a.Device, a.Device)
	if err != nil {
		return none, err
	}
	if a.Name == nil {
		a.Name = &a.Device
	}
	writable := a.Writable != nil && *a.Writable && !n.ReadOnly()
	o := &Options{Base: a.Base}
	if a.Bitmap != nil {
		o.Bitmaps = []bitmapRef{{Local: a.Bitmap}}
	}
	_, err = s.cfg.Exports.Add(&export.Options{
		Type: exportType, ID: *a.Name, NodeName: n.Name(), Writable: &writable, Branch: o,
	})
	return none, err
}

type removeArgs struct {
	Name string       `qmp:"name"`
	Mode *export.Mode `qmp:"mode"`
}

// remove is nbd-server-remove.
func (s *Server) remove(_ *qmp.Context, a *removeArgs) (none qmp.None, err error) {
	if e := s.cfg.Exports.Find(a.Name); e != nil && e.Type != exportType {
		return none, block.Errorf(block.KindInvalid, "Block export '%s' is not an NBD export", a.Name)
	}
	return none, s.cfg.Exports.Del(a.Name, a.Mode)
}

func (s *Server) stop(*qmp.Context, *qmp.None) (none qmp.None, err error) { return none, s.Stop() }

// Commands returns the commands about the server.
func (s *Server) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.NewAsync("nbd-server-start", s.start),
		qmp.New("nbd-server-add", s.add, qmp.Deprecated),
		qmp.New("nbd-server-remove", s.remove, qmp.Deprecated),
		qmp.New("nbd-server-stop", s.stop),
	}
}
