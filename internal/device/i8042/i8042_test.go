package i8042

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"govmd/internal/device/devtest"
)

func mk(m *devtest.Machine) { m.Plug(m.ISA, TypeName, "") }

func newI8042(t *testing.T, props ...string) (*devtest.Machine, *Device) {
	t.Helper()
	m := devtest.New(t)
	return m, m.Plug(m.ISA, TypeName, "", props...).(*Device)
}

// drain reads all there is, keyboard bytes and mouse bytes apart.
func drain(m *devtest.Machine) (kbd, aux []byte) {
	for range 4000 {
		s := m.In8(portCommand)
		if s&statOBF == 0 {
			return kbd, aux
		}
		if b := m.In8(portData); s&statAuxOBF != 0 {
			aux = append(aux, b)
		} else {
			kbd = append(kbd, b)
		}
	}
	m.TB.Fatal("there is no end of bytes")
	return nil, nil
}

func checkKbd(t *testing.T, m *devtest.Machine, what, want string) {
	t.Helper()
	kbd, aux := drain(m)
	if string(kbd) != want || len(aux) != 0 {
		t.Errorf("%s: keyboard % x, mouse % x; want % x and nothing", what, kbd, aux, want)
	}
}

func checkAux(t *testing.T, m *devtest.Machine, what, want string) {
	t.Helper()
	kbd, aux := drain(m)
	if string(aux) != want || len(kbd) != 0 {
		t.Errorf("%s: mouse % x, keyboard % x; want % x and nothing", what, aux, kbd, want)
	}
}

func toKbd(m *devtest.Machine, bytes ...uint8) {
	for _, b := range bytes {
		m.Out8(portData, b)
	}
}

func toAux(m *devtest.Machine, bytes ...uint8) {
	for _, b := range bytes {
		m.Out8(portCommand, cmdWriteAux)
		m.Out8(portData, b)
	}
}

func setMode(m *devtest.Machine, mode uint8) {
	m.Out8(portCommand, cmdWriteRAM)
	m.Out8(portData, mode)
}

func TestControllerCommands(t *testing.T) {
	m, _ := newI8042(t)
	m.CheckIn8(portCommand, statUnlocked|statCommand, "reset")
	for _, c := range []struct{ cmd, want uint8 }{
		{cmdReadRAM, modeAtReset}, {cmdSelfTest, selfTestPassed}, {cmdKbdTest, 0}, {cmdAuxTest, 0},
		{cmdPassword, noPassword}, {cmdReadInput, inputPort}, {cmdReadOutput, outAtReset}, {cmdTestInputs, 0},
	} {
		m.Out8(portCommand, c.cmd)
		if m.In8(portCommand)&(statOBF|statAuxOBF) != statOBF {
			t.Errorf("command %#x: no answer", c.cmd)
		}
		m.CheckIn8(portData, c.want, "answer")
	}
	m.CheckIn8(portCommand, statUnlocked|statCommand|statSystem, "after the self-test")
	m.Out8(portCommand, cmdWriteRAM|5)
	m.Out8(portData, 0x77)
	m.CheckIn8(portCommand, statUnlocked|statSystem, "after data")
	m.Out8(portCommand, cmdReadRAM|5)
	m.CheckIn8(portData, 0x77, "RAM")
	m.CheckIn8(portData, 0x77, "the last byte stays")
}

func TestEnableBits(t *testing.T) {
	m, _ := newI8042(t)
	for _, c := range []struct{ cmd, want uint8 }{
		{cmdAuxOff, modeAtReset | modeAuxOff}, {cmdAuxOn, modeAtReset},
		{cmdKbdOff, modeAtReset | modeKbdOff}, {cmdKbdOn, modeAtReset},
	} {
		m.Out8(portCommand, c.cmd)
		m.Out8(portCommand, cmdReadRAM)
		m.CheckIn8(portData, c.want, "mode")
	}
}

func TestLoops(t *testing.T) {
	m, _ := newI8042(t)
	m.Out8(portCommand, cmdWriteAuxBuf)
	m.Out8(portData, 0x5a)
	if !m.IRQ[12].Level() || m.IRQ[1].Level() {
		t.Error("the mouse's interrupt alone should be up")
	}
	checkAux(t, m, "loop", "\x5a")
	m.Out8(portCommand, cmdWriteKbdBuf)
	m.Out8(portData, 0xa5)
	if m.IRQ[12].Level() || !m.IRQ[1].Level() {
		t.Error("the keyboard's interrupt alone should be up")
	}
	m.Out8(portCommand, cmdReadOutput)
	checkKbd(t, m, "loop", "\xa5\xdf")
	m.Out8(portCommand, cmdReadRAM)
	m.Out8(portCommand, cmdReadOutput)
	checkKbd(t, m, "output port with a full buffer", "\x03\xdf")
}

func TestOutputPort(t *testing.T) {
	m, _ := newI8042(t)
	m.Out8(portCommand, cmdA20Off)
	m.Out8(portCommand, cmdReadOutput)
	m.CheckIn8(portData, outAtReset&^outA20, "A20 off")
	m.Out8(portCommand, cmdA20On)
	m.Out8(portCommand, cmdWriteOutput)
	m.Out8(portData, outReset|outA20)
	m.Out8(portCommand, cmdReadOutput)
	m.CheckIn8(portData, outReset|outA20, "as written")
	if c := m.Calls(); len(c) != 0 {
		t.Errorf("calls: %v", c)
	}
}

func TestResets(t *testing.T) {
	m, _ := newI8042(t)
	m.Out8(portCommand, 0xff)
	m.Out8(portCommand, 0xf1)
	if c := m.Calls(); len(c) != 0 {
		t.Errorf("a pulse that does not touch bit 0: %v", c)
	}
	m.Out8(portCommand, 0xfe)
	if c := strings.Join(m.Calls(), " "); c != "reset guest-reset" {
		t.Errorf("command 0xfe: %s", c)
	}
	m.Out8(portCommand, cmdWriteOutput)
	m.Out8(portData, outA20)
	if c := strings.Join(m.Calls(), " "); c != "reset guest-reset" {
		t.Errorf("output port: %s", c)
	}
}

func TestKeyboardCommands(t *testing.T) {
	m, d := newI8042(t)
	lights := uint8(0xff)
	d.OnLEDs = func(l uint8) { lights = l }
	for _, c := range []struct {
		what       string
		send, want string
	}{
		{"echo", "\xee", "\xee"},
		{"identify", "\xf2", "\xfa\xab\x83"},
		{"rate", "\xf3", "\xfa"}, {"its argument", "\x20", "\xfa"},
		{"which set", "\xf0", "\xfa"}, {"its argument", "\x00", "\xfa\x02"},
		{"no such set", "\xf0", "\xfa"}, {"its argument", "\x04", "\xfe"},
		{"unknown", "\x33", "\xfe"}, {"unknown", "\xef", "\xfe"},
		{"a command in place of an argument", "\xed", "\xfa"}, {"reset", "\xff", "\xfa\xaa"},
		{"resend", "\xfe", "\xaa"},
		{"lights", "\xed", "\xfa"}, {"its argument", "\x05", "\xfa"},
		{"types of keys", "\xfb", "\xfa"}, {"a key", "\x1c", "\xfa"}, {"a key", "\x1b", "\xfa"},
		{"all keys", "\xfa", "\xfa"},
		{"enable", "\xf4", "\xfa"},
		{"not to be taken for a key's type", "\x1c", "\xfe"},
	} {
		toKbd(m, []byte(c.send)...)
		checkKbd(t, m, c.what, c.want)
	}
	if lights != 5 || d.LEDs() != 5 {
		t.Errorf("lights %d and %d, want 5", lights, d.LEDs())
	}
	m.ResetAll()
	if lights != 0 || d.LEDs() != 0 {
		t.Errorf("lights %d and %d after a reset, want 0", lights, d.LEDs())
	}
}

func TestScanCodeSets(t *testing.T) {
	keys := []struct {
		what       string
		num        uint8
		down1, up1 string
		down2, up2 string
		down3, up3 string
	}{
		{"a", 0x1e, "\x1e", "\x9e", "\x1c", "\xf0\x1c", "\x1c", "\xf0\x1c"},
		{"F7", 0x41, "\x41", "\xc1", "\x83", "\xf0\x83", "\x37", "\xf0\x37"},
		{"Esc", 0x01, "\x01", "\x81", "\x76", "\xf0\x76", "\x08", "\xf0\x08"},
		{"right Ctrl", 0x9d, "\xe0\x1d", "\xe0\x9d", "\xe0\x14", "\xe0\xf0\x14", "\x58", "\xf0\x58"},
		{"Up", 0xc8, "\xe0\x48", "\xe0\xc8", "\xe0\x75", "\xe0\xf0\x75", "\x63", "\xf0\x63"},
		{"Print", 0xb7, "\xe0\x2a\xe0\x37", "\xe0\xb7\xe0\xaa", "\xe0\x12\xe0\x7c", "\xe0\xf0\x7c\xe0\xf0\x12", "\x57", "\xf0\x57"},
		{"Pause", 0xc6, "\xe1\x1d\x45\xe1\x9d\xc5", "", "\xe1\x14\x77\xe1\xf0\x14\xf0\x77", "", "\x62", "\xf0\x62"},
		{"none", 0x00, "", "", "", "", "", ""},
		{"none, extended", 0x80, "", "", "", "", "", ""},
	}
	m, d := newI8042(t)
	for _, k := range keys {
		for set, want := range map[uint8][2]string{1: {k.down1, k.up1}, 2: {k.down2, k.up2}, 3: {k.down3, k.up3}} {
			setMode(m, modeAtReset)
			toKbd(m, kbdScanCodeSet)
			drain(m)
			toKbd(m, set)
			drain(m)
			d.Key(k.num, true)
			checkKbd(t, m, k.what+" down", want[0])
			d.Key(k.num, false)
			checkKbd(t, m, k.what+" up", want[1])
			if set != 2 {
				continue
			}
			setMode(m, modeAtReset|modeTransl)
			d.Key(k.num, true)
			checkKbd(t, m, k.what+" down, translated", k.down1)
			d.Key(k.num, false)
			checkKbd(t, m, k.what+" up, translated", k.up1)
		}
	}
}

// Every key of set 1 comes out of the translation as it went in.
func TestTranslationOfAllKeys(t *testing.T) {
	for key := 1; key < 0x59; key++ {
		if set2[key] == 0 {
			t.Errorf("key %#x has no code in set 2", key)
		} else if got := translate(set2[key]); int(got) != key {
			t.Errorf("key %#x is %#x in set 2, which is translated to %#x", key, set2[key], got)
		}
	}
	for b := 0x85; b < 0x100; b++ {
		if int(translate(uint8(b))) != b {
			t.Errorf("%#x is translated", b)
		}
	}
}

func TestModifiedKeys(t *testing.T) {
	m, d := newI8042(t)
	setMode(m, modeAtReset|modeTransl)
	with := func(mod, key uint8) string {
		d.Key(mod, true)
		drain(m)
		d.Key(key, true)
		down, _ := drain(m)
		d.Key(key, false)
		up, _ := drain(m)
		d.Key(mod, false)
		drain(m)
		return string(down) + "|" + string(up)
	}
	for _, c := range []struct {
		what     string
		mod, key uint8
		want     string
	}{
		{"Alt Print", keyLeftAlt, keyPrint, "\x54|\xd4"},
		{"right Alt Print", keyRightAlt, keyPrint, "\x54|\xd4"},
		{"Ctrl Print", keyLeftCtrl, keyPrint, "\xe0\x37|\xe0\xb7"},
		{"Shift Print", keyRightShift, keyPrint, "\xe0\x37|\xe0\xb7"},
		{"Ctrl Pause", keyRightCtrl, keyPause, "\xe0\x46|\xe0\xc6"},
	} {
		if got := with(c.mod, c.key); got != c.want {
			t.Errorf("%s: % x, want % x", c.what, got, c.want)
		}
	}
}

func TestKeyboardID(t *testing.T) {
	m, _ := newI8042(t)
	setMode(m, modeAtReset|modeTransl)
	toKbd(m, kbdIdentify)
	checkKbd(t, m, "identify, translated", "\xfa\xab\x41")
	toKbd(m, kbdScanCodeSet)
	drain(m)
	toKbd(m, 0)
	checkKbd(t, m, "which set, translated", "\xfa\x41")
}

func TestKeyQueueIsBounded(t *testing.T) {
	m, d := newI8042(t)
	for range 100 {
		d.Key(0x9d, true) // two bytes: an event is lost whole
	}
	kbd, _ := drain(m)
	if want := strings.Repeat("\xe0\x14", len(kbd)/2); string(kbd) != want || len(kbd) < 16 || len(kbd) > 18 {
		t.Errorf("% x", kbd)
	}
	toKbd(m, kbdDisable)
	drain(m)
	d.Key(0x1e, true)
	checkKbd(t, m, "disabled", "")
}

func TestRepliesGoFirst(t *testing.T) {
	m, d := newI8042(t)
	d.Key(0x1e, true)
	d.Key(0x1f, true)
	toKbd(m, kbdEcho)
	checkKbd(t, m, "a byte is out already, one waits", "\x1c\xee\x1b")
}

func TestInterrupts(t *testing.T) {
	m, d := newI8042(t)
	d.Key(0x9d, true)
	if n := m.IRQ[1].Rises(); n != 1 {
		t.Errorf("%d edges for the first byte", n)
	}
	m.In8(portData)
	if n := m.IRQ[1].Rises(); n != 1 {
		t.Errorf("%d edges for the second byte", n)
	}
	m.In8(portData)
	if m.IRQ[1].Level() {
		t.Error("interrupt with nothing to read")
	}
	setMode(m, 0)
	d.Key(0x1e, true)
	if m.IRQ[1].Level() {
		t.Error("interrupt though it is off")
	}
	if m.In8(portCommand)&statOBF == 0 {
		t.Error("no byte")
	}
	setMode(m, modeKbdInt)
	if !m.IRQ[1].Level() {
		t.Error("no interrupt when it is switched on")
	}
	drain(m)
	setMode(m, modeKbdInt|modeKbdOff)
	d.Key(0x1e, true)
	checkKbd(t, m, "keyboard off", "")
	m.Out8(portCommand, cmdKbdOn)
	checkKbd(t, m, "keyboard on", "\x1c")
}

func TestThrottle(t *testing.T) {
	m, d := newI8042(t, "kbd-throttle", "on")
	d.Key(0x9d, true)
	checkKbd(t, m, "at once", "\xe0")
	m.Advance(999 * time.Microsecond)
	checkKbd(t, m, "too early", "")
	m.Advance(time.Microsecond)
	checkKbd(t, m, "a millisecond later", "\x14")
	m.Reset(d)
	d.Key(0x1e, true)
	checkKbd(t, m, "a reset ends the wait", "\x1c")
}

func TestMouseCommands(t *testing.T) {
	m, d := newI8042(t)
	for _, c := range []struct{ what, send, want string }{
		{"reset", "\xff", "\xfa\xaa\x00"},
		{"identify", "\xf2", "\xfa\x00"},
		{"status", "\xe9", "\xfa\x00\x02\x64"},
		{"scaling", "\xe7", "\xfa"},
		{"resolution", "\xe8\x03", "\xfa"}, // a new command drops the answer to the old one
		{"rate", "\xf3\x28", "\xfa"},
		{"enable", "\xf4", "\xfa"},
		{"status", "\xe9", "\xfa\x30\x03\x28"},
		{"remote", "\xf0", "\xfa"},
		{"wrap", "\xee", "\xfa"},
		{"echo", "\xf2", "\xf2"},
		{"end of wrap", "\xec", "\xfa"},
		{"defaults", "\xf6", "\xfa"},
		{"status", "\xe9", "\xfa\x00\x02\x64"},
		{"resend", "\xfe", "\x64"},
		{"unknown", "\x01", "\xfe"},
		{"scaling back", "\xe6", "\xfa"},
		{"stream", "\xea", "\xfa"},
		{"disable", "\xf5", "\xfa"},
	} {
		for _, b := range []byte(c.send) {
			drain(m)
			toAux(m, b)
		}
		checkAux(t, m, c.what, c.want)
	}
	d.Move(0, 0, 0, ButtonLeft|ButtonRight)
	toAux(m, mouseStatus)
	checkAux(t, m, "status with buttons", "\xfa\x05\x02\x64")
}

func TestMousePackets(t *testing.T) {
	m, d := newI8042(t)
	d.Move(5, 5, 0, 0)
	checkAux(t, m, "disabled", "")
	toAux(m, mouseEnable)
	drain(m)
	d.Move(5, 3, 1, ButtonLeft)
	checkAux(t, m, "right and down", "\x29\x05\xfd")
	d.Move(0, 0, 0, ButtonLeft)
	checkAux(t, m, "nothing new", "")
	d.Move(0, 0, 0, ButtonMiddle|ButtonExtra)
	checkAux(t, m, "button", "\x0c\x00\x00")
	d.Move(-200, -1, 0, 0)
	checkAux(t, m, "far", "\x18\x81\x01\x18\xb7\x00")
	toAux(m, mouseScale2)
	drain(m)
	d.Move(3, -10, 0, 0)
	checkAux(t, m, "2:1", "\x08\x03\x14")
}

func setRates(m *devtest.Machine, rates ...uint8) {
	for _, r := range rates {
		toAux(m, mouseSampleRate)
		toAux(m, r)
	}
	drain(m)
}

func TestWheel(t *testing.T) {
	m, d := newI8042(t)
	setRates(m, 200, 100, 80)
	toAux(m, mouseIdentify)
	checkAux(t, m, "identify", "\xfa\x03")
	toAux(m, mouseEnable)
	drain(m)
	d.Move(0, 0, -1, 0)
	checkAux(t, m, "wheel", "\x08\x00\x00\xff")

	setRates(m, 200, 200, 80)
	toAux(m, mouseIdentify)
	checkAux(t, m, "identify", "\xfa\x04")
	d.Move(1, 0, 9, ButtonSide)
	checkAux(t, m, "wheel and a button", "\x08\x01\x00\x17\x08\x00\x00\x12")
	toAux(m, mouseReset)
	checkAux(t, m, "reset", "\xfa\xaa\x00")
}

func TestMouseMotionAddsUp(t *testing.T) {
	m, d := newI8042(t)
	toAux(m, mouseEnable)
	drain(m)
	for range 1000 {
		d.Move(1, 0, 0, 0)
	}
	_, aux := drain(m)
	sum := 0
	for p := aux; len(p) >= 3; p = p[3:] {
		sum += int(int8(p[1]))
	}
	if sum != 1000 || len(aux)%3 != 0 {
		t.Errorf("%d bytes, motion %d, want 1000", len(aux), sum)
	}
	toAux(m, mouseRemote)
	drain(m)
	d.Move(7, 0, 0, 0)
	checkAux(t, m, "remote", "")
	toAux(m, mousePoll)
	checkAux(t, m, "poll", "\xfa\x08\x07\x00")
}

func TestMouseOff(t *testing.T) {
	m, d := newI8042(t)
	toAux(m, mouseEnable)
	drain(m)
	m.Out8(portCommand, cmdAuxOff)
	d.Move(1, 0, 0, 0)
	checkAux(t, m, "off", "")
	m.Out8(portCommand, cmdAuxOn)
	checkAux(t, m, "on", "\x08\x01\x00")
}

func TestReset(t *testing.T) {
	m, d := newI8042(t)
	d.Key(0x1e, true)
	toAux(m, mouseEnable)
	m.Out8(portCommand, cmdSelfTest)
	m.Reset(d)
	m.CheckIn8(portCommand, statUnlocked|statCommand, "reset")
	if m.IRQ[1].Level() || m.IRQ[12].Level() {
		t.Error("interrupt after a reset")
	}
	d.Move(1, 0, 0, 0)
	checkAux(t, m, "the mouse is off", "")
}

func TestKeyWakes(t *testing.T) {
	m, d := newI8042(t)
	m.Env.Run.RequestSuspend()
	m.Sync()
	d.Move(1, 1, 0, 0)
	if c := strings.Join(m.Calls(), " "); c != "suspend" {
		t.Errorf("motion: %s", c)
	}
	d.Key(0x1c, true)
	if c := strings.Join(m.Calls(), " "); c != "wakeup other" {
		t.Errorf("a key: %s", c)
	}
}

func TestRoundTrip(t *testing.T) {
	throttled := func(m *devtest.Machine) { m.Plug(m.ISA, TypeName, "", "kbd-throttle", "on") }
	_, to := devtest.RoundTrip(t, throttled, func(m *devtest.Machine) {
		d := m.Devices()[0].(*Device)
		setMode(m, modeAtReset|modeTransl)
		setRates(m, 200, 100, 80)
		toAux(m, mouseEnable)
		drain(m)
		d.Key(keyLeftShift, true)
		m.In8(portData)
		d.Key(0x1e, true)
		d.Move(300, 1, 1, ButtonRight)
		toKbd(m, kbdSetLEDs)
		m.Out8(portCommand, cmdWriteOutput)
	})
	to.Out8(portData, 0x43) // the argument that was awaited
	to.Out8(portCommand, cmdReadOutput)
	kbd, aux := drain(to)
	if string(kbd) != "\x63" || len(aux) != 12 {
		t.Errorf("keyboard % x, mouse % x", kbd, aux)
	}
	to.Advance(time.Millisecond)
	checkKbd(t, to, "what was throttled", "\xfa")
	toKbd(to, 2)
	to.Advance(time.Millisecond)
	if to.Devices()[0].(*Device).LEDs() != 2 {
		t.Error("the keyboard's pending command is lost")
	}
}

func TestNoAllocs(t *testing.T) {
	_, d := newI8042(t)
	devtest.NoAllocs(t, "keys and commands", func() {
		d.Key(keyPause, true)
		d.Move(300, 1, 1, 0)
		commandPort{d}.WriteIO(0, 1, cmdWriteAux)
		dataPort{d}.WriteIO(0, 1, mouseStatus)
		for (commandPort{d}).ReadIO(0, 1)&statOBF != 0 {
			dataPort{d}.ReadIO(0, 1)
		}
	})
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		d := m.Plug(m.ISA, TypeName, "", "kbd-throttle", "on").(*Device)
		m.AddAction(func(next func(int) uint64) uint64 {
			d.Key(uint8(next(1)), next(1)&1 != 0)
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			d.Move(int(int16(next(2))), int(int8(next(1))), int(int8(next(1))), uint8(next(1)))
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 { // a mouse that sends
			toAux(m, mouseEnable)
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			toAux(m, uint8(next(1)))
			return 0
		})
		m.AddWatch(func() any { return d.LEDs() })
	}, devtest.Ports(portData, 1), devtest.Ports(portCommand, 1))
}

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, mk, devtest.Ports(portData, 1), devtest.Ports(portCommand, 1))
}

func FuzzIO(f *testing.F) {
	devtest.FuzzIO(f, mk, devtest.Ports(portData, 1), devtest.Ports(portCommand, 1))
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, mk, devtest.Ports(portData, 1), devtest.Ports(portCommand, 1))
}

// FuzzInput mixes keys and motion with what a guest does.
func FuzzInput(f *testing.F) {
	f.Add([]byte("\x01\x1e\x02\xff\x03\xf4\x04\xd4\x03\xf4\x02\x10"))
	f.Add(bytes.Repeat([]byte{1, 0xc6, 2, 0x80}, 50))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := devtest.New(t)
		d := m.Plug(m.ISA, TypeName, "").(*Device)
		for i := 0; i+1 < len(data); i += 2 {
			switch v := data[i+1]; data[i] % 6 {
			case 0:
				d.Key(v, false)
			case 1:
				d.Key(v, true)
			case 2:
				d.Move(int(int8(v))<<20, int(v), int(int8(v)), v)
			case 3:
				m.Out8(portData, v)
			case 4:
				m.Out8(portCommand, v)
			case 5:
				m.In8(portData)
			}
		}
		toKbd(m, kbdReset)
		drain(m)
	})
}
