package main

import (
	"context"

	"govmd/internal/net"
	_ "govmd/internal/net/backends" // kinds of back ends
)

// netdevSetup is one -netdev.
type netdevSetup struct {
	options *net.Options
	given   string
}

func applyNetdev(s *setup, given, text string) error {
	o, err := net.Parse(text)
	if err != nil {
		return err
	}
	s.netdevs = append(s.netdevs, netdevSetup{o, given})
	return nil
}

// openNetdevs opens the network back ends of the command line.
func (v *vm) openNetdevs(context.Context) error {
	v.net = net.New(net.Env{
		Lane: v.lane, Bus: &v.bus, FDs: &v.fds, Names: v.chardevs.Names,
		Warn: func(text string) { v.log.Warn(text) },
	})
	v.cfg.Net = v.net
	v.onClose(func() { _ = v.lane.Do(context.Background(), v.net.Close) })
	v.onClose(v.net.Stop)
	for _, d := range v.setup.netdevs {
		var err error
		if e := v.lane.Do(context.Background(), func() { _, err = v.net.Add(d.options) }); e != nil {
			return e
		}
		if err != nil {
			return &usageError{d.given, err}
		}
	}
	return nil
}
