package nbd

import (
	"fmt"
	"net/url"
	"strings"

	"govmd/internal/block"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// Options are the options of the driver nbd.
type Options struct {
	Server *sock.Address `qmp:"server"`
	// Path, Host and Port are the short form of Server.
	Path *string `qmp:"path"`
	Host *string `qmp:"host"`
	Port *string `qmp:"port"`

	Export      *string `qmp:"export"`
	TLSCreds    *string `qmp:"tls-creds"`
	TLSHostname *string `qmp:"tls-hostname"`
	DirtyBitmap *string `qmp:"x-dirty-bitmap"`
	// ReconnectDelay and OpenTimeout are in seconds.
	ReconnectDelay *uint32 `qmp:"reconnect-delay"`
	OpenTimeout    *uint32 `qmp:"open-timeout"`
}

// defaultPort is that of the protocol.
const defaultPort = "10809"

func init() {
	block.Register[Options](&block.Type{
		Name: "nbd", Protocol: true, Open: open,
		Prefixes: []string{"nbd", "nbd+tcp", "nbd+unix"}, ParseName: parseName,
	})
}

// address returns where the server is.
func (o *Options) address() (sock.Address, error) {
	short := o.Path != nil || o.Host != nil || o.Port != nil
	switch {
	case o.Server != nil && short:
		return sock.Address{}, block.Errorf(block.KindInvalid, "'server' and path/host/port cannot be used at the same time")
	case o.Server != nil:
		return *o.Server, o.Server.Check()
	case o.Path != nil && (o.Host != nil || o.Port != nil):
		return sock.Address{}, block.Errorf(block.KindInvalid, "path and host may not be used at the same time")
	case o.Path != nil:
		return sock.NewUnix(*o.Path), nil
	case o.Host != nil:
		port := defaultPort
		if o.Port != nil {
			port = *o.Port
		}
		return sock.NewInet(*o.Host, port), nil
	case o.Port != nil:
		return sock.Address{}, block.Errorf(block.KindInvalid, "port may not be used without host")
	}
	return sock.Address{}, block.Errorf(block.KindInvalid, "NBD server address missing")
}

// parseName reads "nbd:HOST:PORT[:exportname=NAME]", "nbd:unix:PATH[:exportname=NAME]"
// and URIs: "nbd://HOST[:PORT]/[NAME]", "nbd+unix:///[NAME]?socket=PATH".
func parseName(name string) (*qmp.Object, error) {
	if strings.Contains(name, "://") {
		return parseURI(name)
	}
	bad := func(format string, args ...any) (*qmp.Object, error) {
		return nil, block.Errorf(block.KindInvalid, format, args...)
	}
	rest, ok := strings.CutPrefix(name, "nbd:")
	if !ok {
		return bad("File name string for new protocols must start with 'nbd:'")
	}
	rest, export, named := strings.Cut(rest, ":exportname=")
	o := &qmp.Object{}
	switch path, isUnix := strings.CutPrefix(rest, "unix:"); {
	case rest == "":
		return bad("No server given in '%s'", name)
	case isUnix:
		o.Add("server", object("type", "unix", "path", path))
	default:
		i := strings.LastIndexByte(rest, ':')
		if i < 0 {
			return bad("host name and port expected in '%s'", name)
		}
		host := strings.TrimSuffix(strings.TrimPrefix(rest[:i], "["), "]")
		if host == "" || rest[i+1:] == "" {
			return bad("host name and port expected in '%s'", name)
		}
		o.Add("server", object("type", "inet", "host", host, "port", rest[i+1:]))
	}
	if named {
		if export == "" {
			return bad("No export name given in '%s'", name)
		}
		o.Add("export", export)
	}
	return o, nil
}

func parseURI(name string) (*qmp.Object, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, block.Errorf(block.KindInvalid, "'%s' is no valid URI", name)
	}
	o := &qmp.Object{}
	query := u.Query()
	switch u.Scheme {
	case "nbd", "nbd+tcp":
		if u.Hostname() == "" || len(query) > 0 {
			return nil, block.Errorf(block.KindInvalid, "'%s' must be nbd://HOST[:PORT]/[EXPORT]", name)
		}
		port := u.Port()
		if port == "" {
			port = defaultPort
		}
		o.Add("server", object("type", "inet", "host", u.Hostname(), "port", port))
	case "nbd+unix":
		if u.Host != "" || len(query) != 1 || query.Get("socket") == "" {
			return nil, block.Errorf(block.KindInvalid, "'%s' must be nbd+unix:///[EXPORT]?socket=PATH", name)
		}
		o.Add("server", object("type", "unix", "path", query.Get("socket")))
	default:
		return nil, block.Errorf(block.KindInvalid, "'%s' is no NBD URI", name)
	}
	if export := strings.TrimPrefix(u.Path, "/"); export != "" {
		o.Add("export", export)
	}
	return o, nil
}

func object(pairs ...string) *qmp.Object {
	o := &qmp.Object{}
	for i := 0; i < len(pairs); i += 2 {
		o.Add(pairs[i], pairs[i+1])
	}
	return o
}

// fileName is the name by which the node can be opened again, "" when options
// alone can say it.
func fileName(a sock.Address, export string, plain bool) string {
	if !plain {
		return ""
	}
	switch b := a.Branch.(type) {
	case *sock.Unix:
		if b.Abstract != nil && *b.Abstract {
			return ""
		}
		return fmt.Sprintf("nbd+unix:///%s?socket=%s", export, b.Path)
	case *sock.Inet:
		host := b.Host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if export == "" {
			return fmt.Sprintf("nbd://%s:%s", host, b.Port)
		}
		return fmt.Sprintf("nbd://%s:%s/%s", host, b.Port, export)
	}
	return ""
}
