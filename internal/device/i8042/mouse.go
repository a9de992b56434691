package i8042

// Commands to a mouse.
const (
	mouseScale1     = 0xe6
	mouseScale2     = 0xe7
	mouseResolution = 0xe8
	mouseStatus     = 0xe9
	mouseStream     = 0xea
	mousePoll       = 0xeb
	mouseEndWrap    = 0xec
	mouseWrap       = 0xee
	mouseRemote     = 0xf0
	mouseIdentify   = 0xf2
	mouseSampleRate = 0xf3
	mouseEnable     = 0xf4
	mouseDisable    = 0xf5
	mouseDefaults   = 0xf6
	mouseResend     = 0xfe
	mouseReset      = 0xff
)

// What a mouse says that it is. A driver changes it by setting sample rates in
// a certain order.
const (
	typeStandard = 0
	typeWheel    = 3 // IntelliMouse
	typeExplorer = 4 // with two more buttons
)

// Buttons, in the order of the first byte of a packet; the last two only on a
// mouse of type Explorer.
const (
	ButtonLeft = 1 << iota
	ButtonRight
	ButtonMiddle
	ButtonSide
	ButtonExtra

	buttonMask = 1<<5 - 1
)

// mouse is a PS/2 mouse.
type mouse struct {
	queue
	pending    uint8 // command that waits for its argument, or 0
	kind       uint8
	rates      [3]uint8 // the sample rates set last, newest first
	resolution uint8
	enabled    bool
	remote     bool // sends only when asked
	wrap       bool // echoes all
	doubled    bool // scaling 2:1

	dx, dy, dz int   // not sent yet
	buttons    uint8 // as they are
	sent       uint8 // as they were sent
}

const (
	defaultSampleRate = 100
	defaultResolution = 2 // 4 counts a millimetre
	// maxPending bounds the motion that waits to be sent.
	maxPending = 1 << 15
)

func (m *mouse) reset() {
	*m = mouse{rates: [3]uint8{defaultSampleRate}, resolution: defaultResolution, buttons: m.buttons}
}

func (m *mouse) defaults() {
	m.rates = [3]uint8{defaultSampleRate}
	m.resolution = defaultResolution
	m.enabled, m.remote, m.doubled = false, false, false
	m.data = ring{}
	m.dx, m.dy, m.dz = 0, 0, 0
}

// move takes motion (right, down and towards the user are positive) and buttons.
func (m *mouse) move(dx, dy, dz int, buttons uint8) {
	add := func(sum *int, d int) {
		d = min(max(d, -maxPending), maxPending)
		*sum = min(max(*sum+d, -maxPending), maxPending)
	}
	m.buttons = buttons & buttonMask
	if !m.enabled && !m.remote {
		return
	}
	add(&m.dx, dx)
	add(&m.dy, -dy) // on the wire up is positive
	add(&m.dz, dz)
	m.stream()
}

// stream sends what has changed, as far as there is room; the rest waits.
func (m *mouse) stream() {
	if !m.enabled || m.remote || m.wrap {
		return
	}
	for m.dx != 0 || m.dy != 0 || m.dz != 0 || m.buttons != m.sent {
		if m.data.room() < 4 {
			return
		}
		if m.kind == typeStandard {
			m.dz = 0
			if m.dx == 0 && m.dy == 0 && (m.buttons^m.sent)&7 == 0 {
				m.sent = m.buttons
				return
			}
		}
		var buf [4]uint8
		m.send(m.packet(buf[:0], m.doubled))
	}
}

// packet appends a packet with as much of what waits as fits.
func (m *mouse) packet(p []uint8, doubled bool) []uint8 {
	dx, dy := take(&m.dx, 127), take(&m.dy, 127)
	if doubled {
		dx, dy = double(dx), double(dy)
	}
	m.sent = m.buttons
	b := m.buttons&7 | 8
	if dx < 0 {
		b |= 0x10
	}
	if dy < 0 {
		b |= 0x20
	}
	p = append(p, b, uint8(dx), uint8(dy))
	switch m.kind {
	case typeWheel:
		p = append(p, uint8(take(&m.dz, 127)))
	case typeExplorer:
		p = append(p, uint8(take(&m.dz, 7))&0x0f|m.buttons<<1&0x30)
	default:
		m.dz = 0
	}
	return p
}

func take(sum *int, most int) int {
	d := min(max(*sum, -most), most)
	*sum -= d
	return d
}

// double is the 2:1 scaling: fast motion counts twice.
func double(d int) int {
	if d < 0 {
		return -double(-d)
	}
	if d < 6 {
		return [6]int{0, 1, 1, 3, 6, 9}[d]
	}
	return 2 * d
}

// write takes a byte from the controller.
func (m *mouse) write(b uint8) {
	if m.wrap && b != mouseEndWrap && b != mouseReset {
		m.reply(b)
		return
	}
	if m.pending != 0 {
		m.argument(b)
		return
	}
	switch b {
	case mouseScale1, mouseScale2:
		m.doubled = b == mouseScale2
		m.reply(replyACK)
	case mouseResolution, mouseSampleRate:
		m.pending = b
		m.reply(replyACK)
	case mouseStatus:
		m.reply(replyACK, m.status(), m.resolution, m.rates[0])
	case mouseStream, mouseRemote:
		m.remote = b == mouseRemote
		m.reply(replyACK)
	case mousePoll:
		var buf [5]uint8
		m.reply(m.packet(append(buf[:0], replyACK), false)...)
	case mouseEndWrap, mouseWrap:
		m.wrap = b == mouseWrap
		m.reply(replyACK)
	case mouseIdentify:
		m.reply(replyACK, m.kind)
	case mouseEnable, mouseDisable:
		m.enabled = b == mouseEnable
		m.reply(replyACK)
	case mouseDefaults:
		m.defaults()
		m.reply(replyACK)
	case mouseResend:
		m.reply(m.last)
	case mouseReset:
		m.reset()
		m.reply(replyACK, replyPassed, m.kind)
	default:
		m.reply(replyResend)
	}
}

func (m *mouse) argument(b uint8) {
	cmd := m.pending
	m.pending = 0
	if cmd == mouseResolution {
		m.resolution = b & 3
	} else {
		m.rates = [3]uint8{b, m.rates[0], m.rates[1]}
		switch m.rates {
		case [3]uint8{80, 100, 200}:
			m.kind = typeWheel
		case [3]uint8{80, 200, 200}:
			m.kind = typeExplorer
		}
	}
	m.reply(replyACK)
}

func (m *mouse) status() uint8 {
	var s uint8
	for _, f := range [...]struct {
		on  bool
		bit uint8
	}{
		{m.buttons&ButtonRight != 0, 0x01}, {m.buttons&ButtonMiddle != 0, 0x02}, {m.buttons&ButtonLeft != 0, 0x04},
		{m.doubled, 0x10}, {m.enabled, 0x20}, {m.remote, 0x40},
	} {
		if f.on {
			s |= f.bit
		}
	}
	return s
}
