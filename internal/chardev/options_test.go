package chardev

import (
	"reflect"
	"strings"
	"testing"

	"govmd/internal/sock"
)

func TestParseShort(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
		mux  bool
		err  string
	}{
		{"null", NullConfig{}, false, ""},
		{"stdio", StdioConfig{Signal: true}, false, ""},
		{"mon:stdio", StdioConfig{}, true, ""},
		{"stdio,signal=off", nil, false, "is not a valid char driver"},
		{"pty", PTYConfig{}, false, ""},
		{"pipe:/tmp/p", PipeConfig{"/tmp/p"}, false, ""},
		{"pipe:", nil, false, "no filename given"},
		{"/dev/ttyS0", SerialConfig{"/dev/ttyS0"}, false, ""},
		{"/dev/fdset/1", SerialConfig{"/dev/fdset/1"}, false, ""},
		{"/dev/parport0", nil, false, "'parallel' is not supported"},
		{"vc", nil, false, "'vc' is not supported"},
		{"vc:80x24", nil, false, "'vc' is not supported"},
		{"braille", nil, false, "'braille' is not supported"},
		{"telnet:h:23,server=on,wait=off", SocketConfig{Addr: sock.NewInet("h", "23"), Server: true, Telnet: true}, false, ""},
		{"tcp::4444,server,nowait,nodelay", SocketConfig{Addr: sock.NewInet("", "4444"), Server: true, NoDelay: true}, false, ""},
		{"websocket:h:1", nil, false, "'websocket' is not supported"},
		{"tn3270:h:1", nil, false, "'tn3270' is not supported"},
		{"unix:/tmp/a,,b,server=on,wait=off", SocketConfig{Addr: sock.NewUnix("/tmp/a,b"), Server: true}, false, ""},
		{"unix:", nil, false, "no path given"},
		{"udp:h:1", UDPConfig{Remote: sock.NewInet("h", "1")}, false, ""},
		{"udp::1@:2", UDPConfig{Remote: sock.NewInet("", "1"), Local: ptr(sock.NewInet("", "2"))}, false, ""},
		{"udp:x", nil, false, "udp:[HOST]:PORT"},
		{"udp:h:1@x", nil, false, "udp:[HOST]:PORT"},
		{"mon:mon:null", nil, true, "'mon:null' is not a valid char driver"},
		{"", nil, false, "is not a valid char driver"},
		{"file:/tmp/x", FileConfig{Out: "/tmp/x"}, false, ""},
		{"unix:/tmp/s,server,nowait", SocketConfig{Addr: sock.NewUnix("/tmp/s"), Server: true}, false, ""},
		{"unix:/tmp/s,server=on,wait=off", SocketConfig{Addr: sock.NewUnix("/tmp/s"), Server: true}, false, ""},
		{"unix:/tmp/s", SocketConfig{Addr: sock.NewUnix("/tmp/s")}, false, ""},
		{"tcp:127.0.0.1:4444,server=on", SocketConfig{Addr: sock.NewInet("127.0.0.1", "4444"), Server: true, Wait: true}, false, ""},
		{"tcp:[::1]:4444", SocketConfig{Addr: sock.NewInet("::1", "4444")}, false, ""},
		{"tcp:4444", nil, false, "tcp:HOST:PORT"},
		{"unix:/tmp/s,servr=on", nil, false, "server"},
		{"unix:" + strings.Repeat("x", 200), nil, false, "too long"},
		{"unix:/tmp/s,server=maybe", nil, false, "'on' or 'off'"},
	} {
		cfg, mux, err := ParseShort("id", c.text)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.text, err, c.err)
			}
		} else if err != nil || mux != c.mux || !reflect.DeepEqual(cfg.Backend, c.want) {
			t.Errorf("%s: %+v, %v, %v", c.text, cfg.Backend, mux, err)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		text, err string
		want      any
	}{
		{"socket,id=c,path=/s,server=on,wait=off", "", SocketConfig{Addr: sock.NewUnix("/s"), Server: true}},
		{"file,id=c,path=/x,append=on", "", FileConfig{Out: "/x", Append: true}},
		{"null", "chardev: no id specified", nil},
		{"id=c", `chardev: "c" missing backend`, nil},
		{"pty,id=c", "", PTYConfig{}},
		{"spicevmc,id=c", "'spicevmc' is not supported", nil},
		{"file,id=c", "chardev: file: no filename given", nil},
		{"pipe,id=c", "chardev: pipe: no device path given", nil},
		{"tty,id=c", "chardev: serial/tty: no device path given", nil},
		{"serial,id=c,path=/dev/ttyS1", "", SerialConfig{"/dev/ttyS1"}},
		{"memory,id=c,size=4k", "", RingConfig{4096, true}},
		{"mux,id=c", "chardev: mux: no chardev given", nil},
		{"mux,id=c,chardev=x", "", MuxConfig{"x"}},
		{"udp,id=c,host=h", "chardev: udp: remote port not specified", nil},
		{"udp,id=c,port=1,localport=3", "", UDPConfig{Remote: sock.NewInet("", "1"), Local: ptr(sock.NewInet("", "3"))}},
		{"socket,id=c", "chardev: socket: no host given", nil},
		{"socket,id=c,host=a", "chardev: socket: no port given", nil},
		{"socket,id=c,path=a,fd=4", "None or one of 'path', 'fd' or 'host' option required.", nil},
		{"socket,id=c,fd=x", "Unable to parse FD number x", nil},
		{"socket,id=c,fd=1", "Unable to parse FD number 1", nil},
		{"socket,id=c,fd=7,server=on,wait=off", "", SocketConfig{Addr: sock.NewFD("7"), Server: true}},
		{"socket,id=c,path=a,delay=on,nodelay=on", "'delay' and 'nodelay' are mutually exclusive", nil},
		{"socket,id=c,path=a,wait=on", "'wait' option is incompatible with socket in client connect mode", nil},
		{"socket,id=c,path=a,tls-authz=z", "'tls_authz' option requires 'tls_creds' option", nil},
		{"socket,id=c,host=h,port=1,to=99999,server=on", "too large", nil},
		{"socket,id=c,host=h,port=1,ipv4=off,ipv6=off", "Cannot disable IPv4 and IPv6 at same time", nil},
		{"socket,id=c,path=a,websocket=on", "'websocket' is not supported", nil},
		{"bogus,id=c", "not a valid char driver name", nil},
		{"null,id=c,path=x", "does not go with", nil},
		{"socket,id=c,path=/s,reconnect=1,server=on", "incompatible", nil},
	} {
		o, err := Schema.Parse(c.text)
		var cfg Config
		if err == nil {
			cfg, err = FromOptions(o)
		}
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.text, err, c.err)
			}
		} else if err != nil || !reflect.DeepEqual(cfg.Backend, c.want) {
			t.Errorf("%s: %+v, %v", c.text, cfg.Backend, err)
		}
	}
}

// No short form makes the program fail.
func FuzzParseShort(f *testing.F) {
	for _, s := range []string{"mon:stdio", "tcp:[::1]:5,server,nowait", "unix:a,,b,wait=off", "udp:a:1@b:2", "/dev/ttyS0", "telnet::1,ipv4=on", "vc:80Cx24C"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cfg, _, err := ParseShort("id", s)
		if err == nil && (cfg.ID != "id" || cfg.Backend == nil) {
			t.Errorf("%q: %+v", s, cfg)
		}
	})
}

func FuzzOptions(f *testing.F) {
	for _, s := range []string{"socket,id=c,path=/s,server=on,wait=off,telnet=on", "udp,id=c,port=1,localaddr=x", "ringbuf,id=c,size=1E", "null,id=c,mux=on,logfile=/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := Schema.Parse(s)
		if err != nil || o.Help {
			return
		}
		if cfg, err := FromOptions(o); err == nil && (cfg.ID == "" || cfg.Backend == nil) {
			t.Errorf("%q: %+v", s, cfg)
		}
	})
}
