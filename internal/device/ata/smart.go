package ata

import "encoding/binary"

// smart is what the SMART feature set (section 4.19) keeps.
type smart struct {
	enabled  bool
	autosave bool
	tests    []byte // self-tests that were run, the latest last
}

func newSMART() smart { return smart{enabled: true, autosave: true} }

// Sub-commands, in the feature register.
const (
	smartReadData       = 0xd0
	smartReadThresholds = 0xd1
	smartAutosave       = 0xd2
	smartExecute        = 0xd4
	smartReadLog        = 0xd5
	smartEnable         = 0xd8
	smartDisable        = 0xd9
	smartStatus         = 0xda

	maxTests = 21 // the log has room for so many
)

// attribute is a line of SMART data: none of these ever wears out.
type attribute struct {
	id               byte
	flags            uint16
	value, threshold byte
	raw              uint32
}

var attributes = [...]attribute{
	{1, 0x03, 100, 6, 0},    // read error rate
	{3, 0x03, 100, 0, 16},   // spin-up time
	{4, 0x02, 100, 20, 100}, // start and stop count
	{5, 0x03, 100, 36, 0},   // sectors that were replaced
	{9, 0x03, 100, 0, 1},    // hours of power
	{12, 0x03, 100, 0, 0},   // power cycles
	{190, 0x03, 69, 50, 31}, // temperature, from 100 down
}

func (d *Drive) startSMART() {
	f := d.regs.Feature
	switch {
	case d.regs.Mid != 0x4f || d.regs.High != 0xc2:
		d.abort()
	case !d.smart.enabled && f != smartEnable:
		d.abort()
	default:
		d.doSMART(f)
	}
}

func (d *Drive) doSMART(f byte) {
	s := &d.smart
	p := d.buffer()[:SectorSize]
	switch f {
	case smartEnable, smartDisable:
		s.enabled = f == smartEnable
		d.finish()
	case smartAutosave:
		switch d.regs.Count {
		case 0:
			s.autosave = false
		case 0xf1:
			s.autosave = true
		default:
			d.abort()
			return
		}
		d.finish()
	case smartStatus: // the registers stay: no threshold is exceeded
		d.finish()
	case smartReadData:
		d.smartData(p)
		d.sendSector()
	case smartReadThresholds:
		clear(p)
		p[0] = 1
		for i, a := range attributes {
			p[2+12*i], p[3+12*i] = a.id, a.threshold
		}
		setSum(p)
		d.sendSector()
	case smartReadLog:
		if !d.smartLog(p, d.regs.Low) {
			d.abort()
			return
		}
		d.sendSector()
	case smartExecute:
		d.selfTest(d.regs.Low)
	default:
		d.abort()
	}
}

func (d *Drive) smartData(p []byte) {
	s := &d.smart
	clear(p)
	p[0] = 1
	for i, a := range attributes {
		e := p[2+12*i:]
		e[0] = a.id
		binary.LittleEndian.PutUint16(e[1:], a.flags)
		e[3], e[4] = a.value, a.value
		binary.LittleEndian.PutUint32(e[5:], a.raw)
	}
	p[362] = 0x02 // data collection completed
	if s.autosave {
		p[362] |= 0x80
	}
	p[364] = 0x20 // it takes 288 s
	p[365] = 0x01
	p[367] = 1<<4 | 1<<3 | 1 // collects at once, self-test
	p[368] = 3               // saves attributes
	p[370] = 1               // has error logs
	p[372] = 2               // minutes of a short self-test
	p[373] = 54              // of an extended one
	setSum(p)
}

// smartLog fills a log page: the directory, errors (none) or self-tests.
func (d *Drive) smartLog(p []byte, page byte) bool {
	clear(p)
	switch page {
	case 0:
		p[0] = 1
		p[2] = 1  // pages of the error log
		p[12] = 1 // of the self-test log
	case 1:
		p[0] = 1
	case 6:
		p[0] = 1
		for i, kind := range d.smart.tests {
			e := p[2+24*i:]
			e[0] = kind
			binary.LittleEndian.PutUint16(e[2:], 0x34) // hours of power
		}
		p[508] = byte(len(d.smart.tests))
	default:
		return false
	}
	if page != 0 {
		setSum(p)
	}
	return true
}

// selfTest runs one, which is through at once and finds nothing.
func (d *Drive) selfTest(kind byte) {
	switch kind {
	case 0, 1, 2, 0x81, 0x82:
		t := append(d.smart.tests, kind)
		d.smart.tests = t[max(0, len(t)-maxTests):]
		d.finish()
	case 127: // end a self-test: none runs
		d.finish()
	default:
		d.abort()
	}
}

// setSum makes the bytes add up to 0.
func setSum(p []byte) {
	sum := byte(0)
	for _, b := range p[:511] {
		sum += b
	}
	p[511] = -sum
}
