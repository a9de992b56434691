package chardev

// Codes of the telnet protocol (RFC 854), and the options that are used (RFC 856,
// 857, 858).
const (
	telIAC  = 255
	telDONT = 254
	telDO   = 253
	telWONT = 252
	telWILL = 251
	telSB   = 250
	telBRK  = 243
	telSE   = 240

	telBinary   = 0
	telEcho     = 1
	telSuppress = 3
)

// telnetHello makes the other side send characters as they are typed, and bytes
// as they are.
var telnetHello = []byte{
	telIAC, telWILL, telEcho,
	telIAC, telWILL, telSuppress,
	telIAC, telWILL, telBinary,
	telIAC, telDO, telBinary,
}

// telnetState is where in the protocol the input is.
type telnetState uint8

const (
	telData   telnetState = iota
	telCR                 // after a carriage return of text mode
	telCmd                // after IAC
	telOption             // after IAC and WILL, WONT, DO or DONT
	telSub                // within a subnegotiation
	telSubIAC             // after IAC within it
)

// telnetDecoder takes the protocol out of the input.
type telnetDecoder struct {
	state  telnetState
	verb   byte
	binary bool // the peer sends bytes as they are
}

// decode decodes src into dst, which must be as long, up to a break. It returns how
// much was decoded, what to answer, whether a break follows, and how much of src
// that has used.
func (t *telnetDecoder) decode(dst, src []byte) (n int, answer []byte, brk bool, used int) {
	for used < len(src) {
		b := src[used]
		used++
		if t.state == telCR {
			t.state = telData
			if b == 0 { // of text, CR NUL is CR alone
				continue
			}
		}
		switch t.state {
		case telData:
			if b == telIAC {
				t.state = telCmd
				continue
			}
			if b == '\r' && !t.binary {
				t.state = telCR
			}
			dst[n] = b
			n++
		case telCmd:
			t.state = telData
			switch b {
			case telIAC:
				dst[n] = b
				n++
			case telWILL, telWONT, telDO, telDONT:
				t.state, t.verb = telOption, b
			case telSB:
				t.state = telSub
			case telBRK:
				return n, answer, true, used
			}
		case telOption:
			t.state = telData
			answer = append(answer, t.option(b)...)
		case telSub:
			if b == telIAC {
				t.state = telSubIAC
			}
		case telSubIAC:
			if t.state = telSub; b == telSE {
				t.state = telData
			}
		}
	}
	return n, answer, false, used
}

// option is a request about an option, or the answer to ours. What we have not
// offered is refused.
func (t *telnetDecoder) option(opt byte) []byte {
	switch t.verb {
	case telWILL:
		if opt == telBinary {
			t.binary = true
			return nil
		}
		if opt == telSuppress {
			return nil
		}
		return []byte{telIAC, telDONT, opt}
	case telWONT:
		if opt == telBinary {
			t.binary = false
		}
	case telDO:
		if opt != telBinary && opt != telEcho && opt != telSuppress {
			return []byte{telIAC, telWONT, opt}
		}
	}
	return nil
}

// telnetConn is a connection that speaks telnet.
type telnetConn struct {
	Conn
	decoder telnetDecoder
	raw     [4096]byte
	pending []byte // of raw
	brk     bool
}

func newTelnetConn(c Conn) (*telnetConn, error) {
	_, err := c.Write(telnetHello)
	return &telnetConn{Conn: c}, err
}

// Read implements Conn.
func (t *telnetConn) Read(p []byte) (int, error) {
	n, _, err := t.ReadMsg(p)
	return n, err
}

// ReadMsg implements Conn. No descriptors come through.
func (t *telnetConn) ReadMsg(p []byte) (int, []int, error) {
	for len(p) > 0 {
		if len(t.pending) == 0 {
			n, err := t.Conn.Read(t.raw[:min(len(p), len(t.raw))])
			if t.pending = t.raw[:max(n, 0)]; n <= 0 && err != nil {
				return 0, nil, err
			}
		}
		k := min(len(p), len(t.pending))
		n, answer, brk, used := t.decoder.decode(p[:k], t.pending[:k])
		t.pending, t.brk = t.pending[used:], brk
		if len(answer) > 0 {
			if _, err := t.Conn.Write(answer); err != nil {
				return n, nil, err
			}
		}
		if n > 0 || brk {
			return n, nil, nil
		}
	}
	return 0, nil, nil
}

// takeBreak implements breaker.
func (t *telnetConn) takeBreak() bool { return t.brk }

// Write implements Conn: a byte that begins a command stands doubled.
func (t *telnetConn) Write(p []byte) (int, error) {
	var buf [1024]byte
	for done := 0; done < len(p); {
		n, from := 0, done
		for done < len(p) && n < len(buf)-1 {
			buf[n] = p[done]
			n++
			if p[done] == telIAC {
				buf[n] = telIAC
				n++
			}
			done++
		}
		if _, err := t.Conn.Write(buf[:n]); err != nil {
			return from, err
		}
	}
	return len(p), nil
}

// waitHup implements hangup.
func (t *telnetConn) waitHup() bool {
	if h, ok := t.Conn.(hangup); ok {
		return h.waitHup()
	}
	return false
}
