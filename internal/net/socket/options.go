package socket

import (
	"net"

	vnet "govmd/internal/net"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// streamOptions are those of the back end "stream".
type streamOptions struct {
	Addr   sock.Address `qmp:"addr"`
	Server *bool        `qmp:"server"`
}

// socketOptions are those of the back end "socket", an older name of several.
type socketOptions struct {
	FD        *string `qmp:"fd"`
	Listen    *string `qmp:"listen"`
	Connect   *string `qmp:"connect"`
	Mcast     *string `qmp:"mcast"`
	LocalAddr *string `qmp:"localaddr"`
	UDP       *string `qmp:"udp"`
}

func init() {
	vnet.Register("stream", func(o *vnet.Opened, opts *streamOptions) (vnet.Backend, error) {
		if err := opts.Addr.Check(); err != nil {
			return nil, err
		}
		return openStream(o, "stream", opts.Addr, opts.Server != nil && *opts.Server)
	})
	vnet.Register("socket", openSocket)
}

func openSocket(o *vnet.Opened, opts *socketOptions) (vnet.Backend, error) {
	n := 0
	for _, p := range []*string{opts.FD, opts.Listen, opts.Connect, opts.Mcast, opts.UDP} {
		if p != nil {
			n++
		}
	}
	switch {
	case n != 1:
		return nil, qmp.Errorf("exactly one of listen=, connect=, mcast= or udp= is required")
	case opts.Mcast != nil:
		return nil, qmp.Errorf("Parameter 'mcast' is not supported yet: use a tap on a bridge")
	case opts.UDP != nil:
		return nil, qmp.Errorf("Parameter 'udp' is not supported yet: use listen= and connect=")
	case opts.LocalAddr != nil:
		return nil, qmp.Errorf("localaddr= is only valid with mcast= or udp=")
	case opts.FD != nil:
		return openStream(o, "socket", sock.NewFD(*opts.FD), false)
	case opts.Listen != nil:
		a, err := inet(*opts.Listen)
		if err != nil {
			return nil, err
		}
		return openStream(o, "socket", a, true)
	}
	a, err := inet(*opts.Connect)
	if err != nil {
		return nil, err
	}
	return openStream(o, "socket", a, false)
}

// inet reads HOST:PORT; no host is any.
func inet(text string) (sock.Address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return sock.Address{}, qmp.Errorf("host address '%s' doesn't contain ':' separating host from port", text)
	}
	return sock.NewInet(host, port), nil
}
