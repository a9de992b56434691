package chardev

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"govmd/internal/option"
)

// Schema is the option -chardev: the keys of all back ends.
var Schema = &option.Schema{
	Name: "chardev", Implied: "backend",
	Keys: []option.Key{
		{Name: "backend", Help: "null, file, stdio or socket"},
		{Name: "path", Help: "file, or Unix socket"},
		{Name: "input-path", Help: "file that input is read from"},
		{Name: "append", Type: option.Bool, Help: "add to the file rather than replacing it"},
		{Name: "signal", Type: option.Bool, Help: "whether Ctrl-C acts on the program"},
		{Name: "host", Help: "address to listen on or to connect to"},
		{Name: "port", Help: "TCP port"},
		{Name: "ipv4", Type: option.Bool, Help: "use IPv4"},
		{Name: "ipv6", Type: option.Bool, Help: "use IPv6"},
		{Name: "server", Type: option.Bool, Help: "listen rather than connect"},
		{Name: "wait", Type: option.Bool, Help: "wait for the first client"},
		{Name: "delay", Type: option.Bool, Help: "collect small writes"},
		{Name: "nodelay", Type: option.Bool, Help: "send small writes at once"},
		{Name: "reconnect", Type: option.Number, Help: "seconds between attempts to connect"},
		{Name: "mux", Type: option.Bool, Help: "let several front ends take turns"},
	},
}

// Backends lists the back ends that -chardev takes.
func Backends() []string { return slices.Sorted(maps.Keys(keysOf)) }

// unsupported are QEMU's back ends that are refused by name.
var unsupported = []string{
	"pipe", "pty", "serial", "tty", "parallel", "parport", "udp", "memory", "ringbuf", "msmouse", "wctablet",
	"braille", "testdev", "console", "vc", "spicevmc", "spiceport", "dbus", "qemu-vdagent",
}

// FromOptions makes a Config of a checked -chardev.
func FromOptions(o *option.Opts) (Config, error) {
	if o.ID == "" {
		return Config{}, fmt.Errorf("Parameter 'id' is missing")
	}
	cfg, err := fromOptions(o.Str("backend"), o)
	cfg.ID = o.ID
	cfg.Mux = cfg.Mux || o.Bool("mux", false)
	return cfg, err
}

// keysOf says which keys each back end takes beside mux.
var keysOf = map[string][]string{
	"null":   {},
	"file":   {"path", "append", "input-path"},
	"stdio":  {"signal"},
	"socket": {"path", "host", "port", "ipv4", "ipv6", "server", "wait", "delay", "nodelay", "reconnect"},
}

func fromOptions(kind string, o *option.Opts) (cfg Config, err error) {
	keys, known := keysOf[kind]
	if !known {
		for _, u := range unsupported {
			if u == kind {
				return cfg, fmt.Errorf("chardev back end '%s' is not supported", kind)
			}
		}
		if kind == "" {
			return cfg, fmt.Errorf("chardev: '%s' missing parameter 'backend'", o.ID)
		}
		return cfg, fmt.Errorf("'%s' is not a valid char driver name", kind)
	}
	for _, it := range o.List {
		if !contains(keys, it.Key) && it.Key != "mux" && it.Key != "backend" {
			return cfg, fmt.Errorf("Parameter '%s' does not go with chardev back end '%s'", it.Key, kind)
		}
	}
	switch kind {
	case "null":
		cfg.Backend = NullConfig{}
	case "stdio":
		cfg.Backend = StdioConfig{Signal: o.Bool("signal", true)}
	case "file":
		if o.Str("path") == "" {
			return cfg, fmt.Errorf("chardev: file: no filename given")
		}
		cfg.Backend = FileConfig{Out: o.Str("path"), Append: o.Bool("append", false), In: o.Str("input-path")}
	case "socket":
		cfg.Backend, err = socketOptions(o)
	}
	return cfg, err
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func socketOptions(o *option.Opts) (SocketConfig, error) {
	s := SocketConfig{
		Path: o.Str("path"), Host: o.Str("host"), Port: o.Str("port"),
		Server: o.Bool("server", false), NoDelay: o.Bool("nodelay", !o.Bool("delay", true)),
	}
	var err error
	if s.Reconnect, err = o.Int("reconnect", 0); err != nil {
		return s, err
	}
	s.Wait = o.Bool("wait", s.Server)
	s.IPv4Only = o.Bool("ipv4", false) && !o.Bool("ipv6", false) || o.Has("ipv6") && !o.Bool("ipv6", true)
	s.IPv6Only = o.Bool("ipv6", false) && !o.Bool("ipv4", false) || o.Has("ipv4") && !o.Bool("ipv4", true)
	switch {
	case s.Path == "" && s.Host == "" && s.Port == "":
		return s, fmt.Errorf("chardev: socket: no host given")
	case s.Path != "" && (s.Host != "" || s.Port != ""):
		return s, fmt.Errorf("Parameter 'path' does not go with 'host' and 'port'")
	case s.Path == "" && s.Port == "":
		return s, fmt.Errorf("chardev: socket: no port given")
	case len(s.Path) > maxUnixPath:
		return s, fmt.Errorf("UNIX socket path '%s' is too long: Path must be less than %d bytes", s.Path, maxUnixPath+1)
	case s.Server && s.Reconnect > 0:
		return s, fmt.Errorf("'reconnect' option is incompatible with socket in server listen mode")
	case !s.Server && o.Has("wait"):
		return s, fmt.Errorf("'wait' option is incompatible with socket in client connect mode")
	}
	return s, nil
}

// maxUnixPath is the longest name of a Unix socket (sockaddr_un).
const maxUnixPath = 107

// ParseShort reads the short form of a character device that -serial, -qmp,
// -monitor and -debugcon take: "stdio", "null", "file:PATH",
// "unix:PATH,server=on,wait=off", "tcp:HOST:PORT,...", each of which "mon:" may
// precede where the device is shared with a monitor (mux is true then).
func ParseShort(id, text string) (cfg Config, mux bool, err error) {
	if rest, ok := strings.CutPrefix(text, "mon:"); ok {
		mux, text = true, rest
	}
	head, rest, _ := strings.Cut(text, ":")
	kind, opts, _ := strings.Cut(text, ",")
	switch {
	case kind == "null" || kind == "stdio":
		cfg, err = short(kind, opts)
	case head == "file":
		cfg.Backend = FileConfig{Out: rest}
		if rest == "" {
			err = fmt.Errorf("chardev: file: no filename given")
		}
	case head == "unix":
		path, opts, _ := strings.Cut(rest, ",")
		cfg, err = short("socket", joinOptions("path="+path, opts))
	case head == "tcp":
		addr, opts, _ := strings.Cut(rest, ",")
		i := strings.LastIndexByte(addr, ':')
		if i < 0 {
			return cfg, mux, fmt.Errorf("'%s' is not of the form tcp:HOST:PORT", text)
		}
		host := strings.Trim(addr[:i], "[]")
		cfg, err = short("socket", joinOptions("host="+host+",port="+addr[i+1:], opts))
	default:
		err = fmt.Errorf("'%s' is not a character device that is supported: null, stdio, file:PATH, unix:PATH and tcp:HOST:PORT are", text)
	}
	cfg.ID = id
	return cfg, mux, err
}

func joinOptions(a, b string) string {
	if b == "" {
		return a
	}
	return a + "," + b
}

func short(kind, opts string) (Config, error) {
	list := option.Parse(opts, "")
	for i, it := range list {
		// "server,nowait" is how it was written before options had values.
		if it.Short && it.Key == "nowait" {
			list[i] = option.Item{Key: "wait", Value: "off"}
		}
		if it.Short && it.Key == "nodelay" {
			list[i] = option.Item{Key: "nodelay", Value: "on"}
		}
	}
	o, err := Schema.Check(list)
	if err != nil {
		return Config{}, err
	}
	return fromOptions(kind, o)
}
