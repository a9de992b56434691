package server

import (
	"context"
	"io"
	"net"
	"strings"

	"govmd/internal/block"
	"govmd/internal/block/export"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// HumanCommands returns the human monitor's commands about the server.
func (s *Server) HumanCommands() []qmp.HumanCommand {
	flag := func(a qmp.HumanArgs, name string) *bool {
		on := a.Bool(name)
		return &on
	}
	return []qmp.HumanCommand{
		{
			Name: "nbd_server_start", Args: "all:-a,writable:-w,uri:s", Params: "[-a] [-w] host:port|unix:path",
			Help:   "serve block devices on the given host and port (-a: all that have media; -w: to be written)",
			NoLane: true, Run: s.humanStart,
		},
		{
			Name: "nbd_server_add", Args: "writable:-w,device:B,name:s?", Params: "[-w] device [name]",
			Help: "export a block device via NBD (-w: to be written)",
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				args := &addArgs{Device: a.Str("device"), Writable: flag(a, "writable")}
				if name := a.Str("name"); name != "" {
					args.Name = &name
				}
				_, err := s.add(ctx, args)
				return err
			},
		},
		{
			Name: "nbd_server_remove", Args: "force:-f,name:s", Params: "[-f] name",
			Help: "remove an export previously exposed via NBD (-f: send its clients away)",
			Run: func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				mode := export.Safe
				if a.Bool("force") {
					mode = export.Hard
				}
				return s.cfg.Exports.Del(a.Str("name"), &mode)
			},
		},
		{
			Name: "nbd_server_stop", Help: "stop serving block devices using the NBD protocol",
			Run: func(*qmp.Context, qmp.HumanArgs, io.Writer) error { return s.Stop() },
		},
	}
}

// humanAddress is what the human monitor calls an address.
func humanAddress(text string) (sock.Address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return sock.NewUnix(path), nil
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(text, "tcp:"))
	if err != nil {
		return sock.Address{}, block.Errorf(block.KindInvalid, "error parsing address '%s'", text)
	}
	return sock.NewInet(host, port), nil
}

// humanStart is nbd_server_start. It runs where it may wait.
func (s *Server) humanStart(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
	all, writable := a.Bool("all"), a.Bool("writable")
	if writable && !all {
		return block.Errorf(block.KindInvalid, "-w only valid together with -a")
	}
	addr, err := humanAddress(a.Str("uri"))
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	if err := s.cfg.Lane.Do(ctx, func() {
		s.Start(ctx, Settings{Addr: addr, Connections: DefaultConnections}, func(err error) {
			if err == nil && all {
				err = s.addAll(ctx, writable)
			}
			done <- err
		})
	}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// addAll exports the media of all drives; when one cannot be, the server stops.
func (s *Server) addAll(ctx *qmp.Context, writable bool) error {
	for _, b := range s.cfg.Exports.Graph().Backends() {
		if !b.Inserted() || b.Name() == "" {
			continue
		}
		if _, err := s.add(ctx, &addArgs{Device: b.Name(), Writable: &writable}); err != nil {
			_ = s.Stop()
			return err
		}
	}
	return nil
}
