// Package sock listens on and connects to the socket addresses of the monitor
// protocol: internet, Unix and vsock addresses and descriptors that were handed
// over; with TLS if asked for.
package sock

import (
	"fmt"
	"net"
	"strings"

	"govmd/internal/qmp"
)

// Type is the kind of an Address.
type Type string

// The kinds of addresses.
const (
	TypeInet  Type = "inet"
	TypeUnix  Type = "unix"
	TypeVsock Type = "vsock"
	TypeFD    Type = "fd"
)

// EnumValues implements qmp.Enum.
func (Type) EnumValues() []string {
	return []string{string(TypeInet), string(TypeUnix), string(TypeVsock), string(TypeFD)}
}

// Address is the protocol's SocketAddress: where to listen or to connect to.
// Branch is a pointer to Inet, Unix, Vsock or FD, as Type says.
type Address struct {
	Type   Type `qmp:"type"`
	Branch any  `qmp:",branch"`
}

// Inet is an internet address. Which family is used is up to the host's name
// unless one is on or off.
type Inet struct {
	Host      string  `qmp:"host"` // name or address; a listener's can be empty, for all addresses
	Port      string  `qmp:"port"` // number or service; a listener's "0" lets the kernel choose
	Numeric   *bool   `qmp:"numeric"`
	To        *uint16 `qmp:"to"` // a listener tries the ports up to this one
	IPv4      *bool   `qmp:"ipv4"`
	IPv6      *bool   `qmp:"ipv6"`
	KeepAlive *bool   `qmp:"keep-alive"`
	MPTCP     *bool   `qmp:"mptcp"`
}

// Unix is the name of a Unix socket in the file system, or in the abstract name
// space, where the name is padded to its full length unless it is tight.
type Unix struct {
	Path     string `qmp:"path"`
	Abstract *bool  `qmp:"abstract"`
	Tight    *bool  `qmp:"tight"`
}

// Vsock is an address of the host's and the guests' own family; both parts are
// numbers.
type Vsock struct {
	CID  string `qmp:"cid"`
	Port string `qmp:"port"`
}

// FD is a descriptor that was handed over: a name within the monitor session or,
// on the command line, a number.
type FD struct {
	Name string `qmp:"str"`
}

var (
	flat   = qmp.NewUnion("SocketAddress", "type")
	legacy = qmp.NewUnion("SocketAddressLegacy", "type")
)

func init() {
	add[Inet](TypeInet)
	add[Unix](TypeUnix)
	add[Vsock](TypeVsock)
	add[FD](TypeFD)
}

func add[T any](t Type) {
	qmp.AddBranch[T](flat, string(t))
	qmp.AddBranch[qmp.Data[T]](legacy, string(t))
}

// QMPUnion implements qmp.Unioner.
func (Address) QMPUnion() *qmp.Union { return flat }

// Legacy is an Address in the form in which old commands take it: with all but
// the type within "data".
type Legacy struct {
	Type   Type `qmp:"type"`
	Branch any  `qmp:",branch"`
}

// QMPUnion implements qmp.Unioner.
func (Legacy) QMPUnion() *qmp.Union { return legacy }

// Address returns the address in its present form.
func (l *Legacy) Address() Address {
	a := Address{Type: l.Type}
	switch b := l.Branch.(type) {
	case *qmp.Data[Inet]:
		a.Branch = &b.Data
	case *qmp.Data[Unix]:
		a.Branch = &b.Data
	case *qmp.Data[Vsock]:
		a.Branch = &b.Data
	case *qmp.Data[FD]:
		a.Branch = &b.Data
	}
	return a
}

// NewInet returns an internet address.
func NewInet(host, port string) Address {
	return Address{TypeInet, &Inet{Host: host, Port: port}}
}

// NewUnix returns the address of a Unix socket in the file system.
func NewUnix(path string) Address { return Address{TypeUnix, &Unix{Path: path}} }

// NewFD returns the address of a descriptor.
func NewFD(name string) Address { return Address{TypeFD, &FD{Name: name}} }

// String returns the address as messages have it: "127.0.0.1:80", a path.
func (a Address) String() string {
	switch b := a.Branch.(type) {
	case *Inet:
		return b.Host + ":" + b.Port
	case *Unix:
		return b.Path
	case *Vsock:
		return b.CID + ":" + b.Port
	case *FD:
		return b.Name
	}
	return "nowhere"
}

// maxUnixPath is the longest name of a Unix socket (sockaddr_un).
const maxUnixPath = 107

// Check returns an error for what no address can be.
func (a Address) Check() error {
	switch b := a.Branch.(type) {
	case *Inet:
		_, err := b.family()
		return err
	case *Unix:
		limit := maxUnixPath
		if on(b.Abstract) {
			if limit = maxUnixPath + 1; on(b.Tight) || b.Tight == nil {
				limit-- // the leading zero byte
			}
		}
		if len(b.Path) > limit {
			return fmt.Errorf("UNIX socket path '%s' is too long", b.Path)
		}
		if strings.IndexByte(b.Path, 0) >= 0 {
			return fmt.Errorf("UNIX socket path has a zero byte in it")
		}
	case *Vsock:
		_, _, err := b.numbers()
		return err
	case *FD:
	default:
		return fmt.Errorf("socket address of type '%s' is not supported", a.Type)
	}
	return nil
}

func on(b *bool) bool { return b != nil && *b }

// family returns which addresses may be used: "4", "6" or "" for both.
func (i *Inet) family() (string, error) {
	off := func(b *bool) bool { return b != nil && !*b }
	switch {
	case off(i.IPv4) && off(i.IPv6):
		return "", fmt.Errorf("Cannot disable IPv4 and IPv6 at same time")
	case on(i.IPv4) && on(i.IPv6):
		return "", nil
	case on(i.IPv4) || off(i.IPv6):
		return "4", nil
	case on(i.IPv6) || off(i.IPv4):
		return "6", nil
	}
	return "", nil
}

// unixName returns what package net calls the socket: "@" stands for a zero byte
// there, so that a file whose name begins with it has to be told apart.
func (u *Unix) unixName() string {
	if !on(u.Abstract) {
		if strings.HasPrefix(u.Path, "@") {
			return "./" + u.Path
		}
		return u.Path
	}
	name := "@" + u.Path
	if u.Tight != nil && !*u.Tight {
		name += strings.Repeat("\x00", maxUnixPath+1-len(name))
	}
	return name
}

// HostPort returns host and port as texts of addresses have them, an IPv6
// address in brackets.
func HostPort(a net.Addr) (host, port string) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), ""
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host, port
}
