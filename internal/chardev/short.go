package chardev

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"govmd/internal/option"
)

// ParseShort reads the short form of a character device that -serial, -qmp,
// -monitor and -debugcon take:
//
//	null, pty, stdio               as such
//	file:PATH, pipe:PATH           files
//	/dev/ttyS0, /dev/fdset/1       a serial line
//	unix:PATH[,OPTION...]          sockets, with the options of -chardev socket
//	tcp:[HOST]:PORT[,OPTION...]
//	telnet:[HOST]:PORT[,OPTION...]
//	udp:[HOST]:PORT[@[LOCAL]:PORT]
//
// Before each of them "mon:" may be written where the device is shared with a
// monitor (mux is true then).
func ParseShort(id, text string) (cfg Config, mux bool, err error) {
	rest, mux := strings.CutPrefix(text, "mon:")
	list, err := shortList(rest, text)
	if err != nil {
		return cfg, mux, err
	}
	if mux && rest == "stdio" {
		// A console that is shared with a monitor passes Ctrl-C on to the guest.
		list = append(list, option.Item{Key: "signal", Value: "off"})
	}
	o, err := Schema.Check(list)
	if err != nil {
		return cfg, mux, err
	}
	cfg, err = fromOptions(o)
	cfg.ID = id
	return cfg, mux, err
}

// plain are the devices that have no options in their short form.
var plain = []string{"null", "pty", "stdio", "msmouse", "wctablet", "braille", "testdev"}

// shortList is what a short form stands for as items of -chardev.
func shortList(text, whole string) (option.List, error) {
	is := func(backend string, items ...option.Item) (option.List, error) {
		return append(option.List{{Key: "backend", Value: backend}}, items...), nil
	}
	path := func(p string) option.Item { return option.Item{Key: "path", Value: p} }
	head, rest, _ := strings.Cut(text, ":")
	if strings.Contains(head, ",") {
		head = ""
	}
	switch {
	case slices.Contains(plain, text):
		return is(text)
	case text == "vc" || head == "vc":
		return is("vc")
	case head == "file" || head == "pipe":
		if rest == "" {
			return nil, fmt.Errorf("chardev: %s: no filename given", head)
		}
		return is(head, path(rest))
	case head == "unix":
		p, opts := cutOptions(rest)
		if p == "" {
			return nil, errors.New("chardev: socket: no path given")
		}
		return is("socket", append(option.List{path(p)}, shortOptions(opts)...)...)
	case head == "tcp" || head == "telnet" || head == "tn3270" || head == "websocket":
		addr, opts := cutOptions(rest)
		host, port, ok := hostPort(addr)
		if !ok {
			return nil, fmt.Errorf("'%s' is not of the form %s:HOST:PORT", whole, head)
		}
		items := append(option.List{{Key: "host", Value: host}, {Key: "port", Value: port}}, shortOptions(opts)...)
		if head != "tcp" {
			items = append(items, option.Item{Key: head, Value: "on"})
		}
		return is("socket", items...)
	case head == "udp":
		return udpShort(rest, whole)
	case strings.HasPrefix(text, "/dev/parport") || strings.HasPrefix(text, "/dev/ppi"):
		return is("parallel", path(text))
	case strings.HasPrefix(text, "/dev/"):
		return is("serial", path(text))
	}
	return nil, fmt.Errorf("'%s' is not a valid char driver%s", text, option.DidYouMean(text, plain))
}

// cutOptions cuts "PATH,OPTION..." in two. A comma within the path is doubled.
func cutOptions(text string) (path, opts string) {
	for i := 0; i < len(text); i++ {
		if text[i] != ',' {
			continue
		}
		if i+1 < len(text) && text[i+1] == ',' {
			i++
			continue
		}
		return strings.ReplaceAll(text[:i], ",,", ","), text[i+1:]
	}
	return strings.ReplaceAll(text, ",,", ","), ""
}

// hostPort cuts "HOST:PORT" in two, "[HOST]:PORT" too.
func hostPort(addr string) (host, port string, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 || i+1 == len(addr) {
		return "", "", false
	}
	host, port = addr[:i], addr[i+1:]
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return host, port, true
}

func udpShort(text, whole string) (option.List, error) {
	remote, local, hasLocal := strings.Cut(text, "@")
	host, port, ok := hostPort(remote)
	list := option.List{{Key: "backend", Value: "udp"}, {Key: "host", Value: host}, {Key: "port", Value: port}}
	if ok && hasLocal {
		host, port, ok = hostPort(local)
		list = append(list, option.Item{Key: "localaddr", Value: host}, option.Item{Key: "localport", Value: port})
	}
	if !ok {
		return nil, fmt.Errorf("'%s' is not of the form udp:[HOST]:PORT[@[LOCAL]:PORT]", whole)
	}
	return list, nil
}

// shortOptions are the options of a socket. "server,nowait" is how it was written
// before options had values.
func shortOptions(opts string) option.List {
	list := option.Parse(opts, "")
	for i, it := range list {
		if it.Short && it.Key == "delay" && it.Value == "off" { // the bare word "nodelay" is a key
			list[i] = option.Item{Key: "nodelay", Value: "on"}
		}
	}
	return list
}
