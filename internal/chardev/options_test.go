package chardev

import (
	"reflect"
	"strings"
	"testing"
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
		{"mon:stdio", StdioConfig{Signal: true}, true, ""},
		{"stdio,signal=off", StdioConfig{}, false, ""},
		{"file:/tmp/x", FileConfig{Out: "/tmp/x"}, false, ""},
		{"unix:/tmp/s,server,nowait", SocketConfig{Path: "/tmp/s", Server: true}, false, ""},
		{"unix:/tmp/s,server=on,wait=off", SocketConfig{Path: "/tmp/s", Server: true}, false, ""},
		{"unix:/tmp/s", SocketConfig{Path: "/tmp/s"}, false, ""},
		{"tcp:127.0.0.1:4444,server=on", SocketConfig{Host: "127.0.0.1", Port: "4444", Server: true, Wait: true}, false, ""},
		{"tcp:[::1]:4444", SocketConfig{Host: "::1", Port: "4444"}, false, ""},
		{"tcp:4444", nil, false, "tcp:HOST:PORT"},
		{"udp:1:2", nil, false, "not a character device that is supported"},
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

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		text, err string
		want      any
	}{
		{"socket,id=c,path=/s,server=on,wait=off", "", SocketConfig{Path: "/s", Server: true}},
		{"file,id=c,path=/x,append=on", "", FileConfig{Out: "/x", Append: true}},
		{"null", "Parameter 'id' is missing", nil},
		{"pty,id=c", "'pty' is not supported", nil},
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
