package chardev

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"govmd/internal/option"
	"govmd/internal/sock"
)

// Schema is the option -chardev: the keys of all back ends.
var Schema = &option.Schema{
	Name: "chardev", Implied: "backend",
	Keys: []option.Key{
		{Name: "backend", Help: "null, file, pipe, pty, stdio, serial, socket, udp, ringbuf or mux"},
		{Name: "path", Help: "file, pipe, serial line, or Unix socket"},
		{Name: "input-path", Help: "file that input is read from"},
		{Name: "append", Type: option.Bool, Help: "add to the file rather than replacing it"},
		{Name: "signal", Type: option.Bool, Help: "whether Ctrl-C acts on the program"},
		{Name: "host", Help: "address to listen on or to connect to"},
		{Name: "port", Help: "TCP or UDP port"},
		{Name: "fd", Help: "inherited descriptor of a socket"},
		{Name: "to", Type: option.Number, Help: "listen on a free port up to this one"},
		{Name: "localaddr", Help: "UDP address to be bound to"},
		{Name: "localport", Help: "UDP port to be bound to"},
		{Name: "ipv4", Type: option.Bool, Help: "use IPv4"},
		{Name: "ipv6", Type: option.Bool, Help: "use IPv6"},
		{Name: "abstract", Type: option.Bool, Help: "Unix socket in the abstract name space"},
		{Name: "tight", Type: option.Bool, Help: "do not pad its name", Default: "on"},
		{Name: "server", Type: option.Bool, Help: "listen rather than connect"},
		{Name: "wait", Type: option.Bool, Help: "wait for the first client"},
		{Name: "telnet", Type: option.Bool, Help: "speak telnet"},
		{Name: "tn3270", Type: option.Bool, Help: "not supported"},
		{Name: "websocket", Type: option.Bool, Help: "not supported"},
		{Name: "tls-creds", Help: "ID of TLS credentials"},
		{Name: "tls-authz", Help: "ID of the object that decides about clients"},
		{Name: "delay", Type: option.Bool, Help: "collect small writes"},
		{Name: "nodelay", Type: option.Bool, Help: "send small writes at once"},
		{Name: "reconnect", Type: option.Number, Help: "seconds between attempts to connect"},
		{Name: "size", Type: option.Size, Help: "size of the ring buffer"},
		{Name: "chardev", Help: "device that front ends share"},
		{Name: "mux", Type: option.Bool, Help: "let several front ends take turns"},
		{Name: "logfile", Help: "file that output is copied to"},
		{Name: "logappend", Type: option.Bool, Help: "add to that file rather than replacing it"},
	},
}

// Backends lists the back ends that there are.
func Backends() []string {
	return []string{"file", "memory", "mux", "null", "pipe", "pty", "ringbuf", "serial", "socket", "stdio", "udp"}
}

// unsupported are QEMU's back ends that are refused by name.
var unsupported = []string{
	"parallel", "parport", "msmouse", "wctablet", "braille", "testdev", "vc", "spicevmc", "spiceport",
	"dbus", "qemu-vdagent",
}

// common are the keys that go with every back end.
var common = []string{"backend", "mux", "logfile", "logappend"}

// keysOf says which keys each back end takes beside the common ones.
var keysOf = map[string][]string{
	"null":    {},
	"pty":     {},
	"file":    {"path", "append", "input-path"},
	"pipe":    {"path"},
	"serial":  {"path"},
	"stdio":   {"signal"},
	"ringbuf": {"size"},
	"mux":     {"chardev"},
	"udp":     {"host", "port", "localaddr", "localport", "ipv4", "ipv6"},
	"socket": {"path", "host", "port", "fd", "to", "ipv4", "ipv6", "abstract", "tight", "server", "wait", "telnet",
		"tn3270", "websocket", "tls-creds", "tls-authz", "delay", "nodelay", "reconnect"},
}

// FromOptions makes a Config of a checked -chardev.
func FromOptions(o *option.Opts) (Config, error) {
	if o.ID == "" {
		return Config{}, errors.New("chardev: no id specified")
	}
	cfg, err := fromOptions(o)
	cfg.ID = o.ID
	return cfg, err
}

// aliasOf are other names of back ends.
var aliasOf = map[string]string{"memory": "ringbuf", "tty": "serial"}

// fromOptions is FromOptions for whoever knows the ID otherwise.
func fromOptions(o *option.Opts) (cfg Config, err error) {
	kind := o.Str("backend")
	if kind == "" {
		return cfg, fmt.Errorf(`chardev: "%s" missing backend`, o.ID)
	}
	if real, ok := aliasOf[kind]; ok {
		kind = real
	}
	keys, known := keysOf[kind]
	if !known {
		if slices.Contains(unsupported, kind) {
			return cfg, fmt.Errorf("chardev back end '%s' is not supported", kind)
		}
		return cfg, fmt.Errorf("'%s' is not a valid char driver name%s", kind, option.DidYouMean(kind, Backends()))
	}
	for _, it := range o.List {
		if !slices.Contains(keys, it.Key) && !slices.Contains(common, it.Key) {
			return cfg, fmt.Errorf("Parameter '%s' does not go with chardev back end '%s'", it.Key, kind)
		}
	}
	cfg.Mux = o.Bool("mux", false)
	cfg.Log = LogConfig{o.Str("logfile"), o.Bool("logappend", false)}
	cfg.Backend, err = backendOptions(kind, o)
	return cfg, err
}

func backendOptions(kind string, o *option.Opts) (any, error) {
	need := func(key, text string) error {
		if !o.Has(key) {
			return errors.New("chardev: " + text)
		}
		return nil
	}
	switch kind {
	case "null":
		return NullConfig{}, nil
	case "pty":
		return PTYConfig{}, nil
	case "stdio":
		return StdioConfig{Signal: o.Bool("signal", true)}, nil
	case "file":
		return FileConfig{Out: o.Str("path"), Append: o.Bool("append", false), In: o.Str("input-path")}, need("path", "file: no filename given")
	case "pipe":
		return PipeConfig{o.Str("path")}, need("path", "pipe: no device path given")
	case "serial":
		return SerialConfig{o.Str("path")}, need("path", "serial/tty: no device path given")
	case "ringbuf":
		return RingConfig{o.Size("size", 0), o.Str("backend") == "memory"}, nil
	case "mux":
		return MuxConfig{o.Str("chardev")}, need("chardev", "mux: no chardev given")
	case "udp":
		return udpOptions(o)
	}
	return socketOptions(o)
}

// given returns the value of a switch, nil when it was not given.
func given(o *option.Opts, key string) *bool {
	if !o.Has(key) {
		return nil
	}
	on := o.Bool(key, false)
	return &on
}

func udpOptions(o *option.Opts) (UDPConfig, error) {
	u := UDPConfig{Remote: sock.Address{Type: sock.TypeInet, Branch: &sock.Inet{
		Host: o.Str("host"), Port: o.Str("port"), IPv4: given(o, "ipv4"), IPv6: given(o, "ipv6"),
	}}}
	if o.Str("port") == "" {
		return u, errors.New("chardev: udp: remote port not specified")
	}
	if o.Has("localaddr") || o.Has("localport") {
		local := sock.NewInet(o.Str("localaddr"), o.Str("localport"))
		u.Local = &local
	}
	return u, nil
}

func socketOptions(o *option.Opts) (SocketConfig, error) {
	s := SocketConfig{
		Server: o.Bool("server", false), NoDelay: o.Bool("nodelay", !o.Bool("delay", true)), Telnet: o.Bool("telnet", false),
		Creds: o.Str("tls-creds"), AuthzID: o.Str("tls-authz"),
	}
	var err error
	if s.Addr, err = socketAddress(o); err != nil {
		return s, err
	}
	if s.Reconnect, err = o.Int("reconnect", 0); err != nil {
		return s, err
	}
	s.Wait = o.Bool("wait", s.Server)
	for _, key := range []string{"tn3270", "websocket"} {
		if o.Bool(key, false) {
			return s, fmt.Errorf("chardev: socket: '%s' is not supported", key)
		}
	}
	switch {
	case o.Has("delay") && o.Has("nodelay"):
		return s, errors.New("'delay' and 'nodelay' are mutually exclusive")
	case !s.Server && o.Has("wait"):
		return s, errors.New("'wait' option is incompatible with socket in client connect mode")
	}
	return s, s.check()
}

// socketAddress is where a socket is to be.
func socketAddress(o *option.Opts) (a sock.Address, err error) {
	kinds := 0
	for _, key := range []string{"path", "fd", "host"} {
		if o.Has(key) {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return a, errors.New("None or one of 'path', 'fd' or 'host' option required.")
	case o.Has("path"):
		return sock.Address{Type: sock.TypeUnix, Branch: &sock.Unix{
			Path: o.Str("path"), Abstract: given(o, "abstract"), Tight: given(o, "tight"),
		}}, nil
	case o.Has("fd"):
		if n, err := strconv.ParseUint(o.Str("fd"), 10, 31); err != nil || n <= 2 {
			return a, fmt.Errorf("Unable to parse FD number %s", o.Str("fd"))
		}
		return sock.NewFD(o.Str("fd")), nil
	case !o.Has("host"):
		return a, errors.New("chardev: socket: no host given")
	case !o.Has("port"):
		return a, errors.New("chardev: socket: no port given")
	}
	i := &sock.Inet{Host: o.Str("host"), Port: o.Str("port"), IPv4: given(o, "ipv4"), IPv6: given(o, "ipv6")}
	if o.Has("to") {
		n := o.Number("to", 0)
		if n > 65535 {
			return a, fmt.Errorf("Value '%s' is too large for parameter 'to'", o.Str("to"))
		}
		to := uint16(n)
		i.To = &to
	}
	return sock.Address{Type: sock.TypeInet, Branch: i}, nil
}
