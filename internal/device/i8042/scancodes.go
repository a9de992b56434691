package i8042

// Keys are named by their number: the code of scan code set 1, plus 0x80 for
// those with the prefix 0xe0. It is the number that clients use for a key too.
const (
	keyLeftCtrl   = 0x1d
	keyLeftShift  = 0x2a
	keyRightShift = 0x36
	keyLeftAlt    = 0x38
	keySysRq      = 0x54
	keyRightCtrl  = 0x80 | keyLeftCtrl
	keyPrint      = 0xb7
	keyRightAlt   = 0x80 | keyLeftAlt
	keyPause      = 0xc6

	keyExtended = 0x80
)

const (
	prefixExtended = 0xe0
	prefixPause    = 0xe1
	prefixBreak    = 0xf0
)

// translation is how the controller turns a code of set 2 into one of set 1.
// Codes from 0x80 up stay as they are, with two exceptions.
var translation = [128]uint8{
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
}

const (
	set2F7    = 0x83
	set2SysRq = 0x84
)

func translate(b uint8) uint8 {
	switch {
	case b < 0x80:
		return translation[b]
	case b == set2F7:
		return 0x41
	case b == set2SysRq:
		return 0x54
	}
	return b
}

// set2 is a code of set 1 in set 2: the translation backwards.
var set2 = func() (t [128]uint8) {
	for b := 0x7f; b > 0; b-- {
		if c := translation[b]; c < 0x80 {
			t[c] = uint8(b)
		}
	}
	t[0x41], t[0x54] = set2F7, set2SysRq
	return t
}()

// set3 is the code in set 3 of the key with a number: in that set each key
// has one byte of its own.
var set3 = func() (t [256]uint8) {
	for _, run := range []struct {
		first uint8
		codes string
	}{
		{0x01, "\x08\x16\x1e\x26\x25\x2e\x36\x3d\x3e\x46\x45\x4e\x55\x66"},     // Esc 1 to 0 - = Backspace
		{0x0f, "\x0d\x15\x1d\x24\x2d\x2c\x35\x3c\x43\x44\x4d\x54\x5b\x5a\x11"}, // Tab q to ] Enter Ctrl
		{0x1e, "\x1c\x1b\x23\x2b\x34\x33\x3b\x42\x4b\x4c\x52\x0e\x12\x5c"},     // a to ' ` Shift backslash
		{0x2c, "\x1a\x22\x21\x2a\x32\x31\x3a\x41\x49\x4a\x59\x7e\x19\x29\x14"}, // z to / Shift KP* Alt Space CapsLock
		{0x3b, "\x07\x0f\x17\x1f\x27\x2f\x37\x3f\x47\x4f\x76\x5f"},             // F1 to F10 NumLock ScrollLock
		{0x47, "\x6c\x75\x7d\x84\x6b\x73\x74\x7c\x69\x72\x7a\x70\x71\x57"},     // keypad, SysRq
		{0x56, "\x13\x56\x5e"},         // the 102nd key, F11, F12
		{0x9c, "\x79\x58"},             // keypad Enter, right Ctrl
		{0xb5, "\x77"},                 // keypad /
		{0xb7, "\x57\x39"},             // Print, right Alt
		{0xc6, "\x62\x6e\x63\x6f"},     // Pause Home Up PageUp
		{0xcb, "\x61"}, {0xcd, "\x6a"}, // Left, Right
		{0xcf, "\x65\x60\x6d\x67\x64"}, // End Down PageDown Insert Delete
		{0xdb, "\x8b\x8c\x8d"},         // left and right Meta, Menu
	} {
		for i, c := range []byte(run.codes) {
			t[int(run.first)+i] = c
		}
	}
	return t
}()

// maxCodes is the longest sequence that a key makes.
const maxCodes = 8

// codes appends what a key sends in the given set when it is pressed or
// released; nothing if the key has no code there.
func codes(p []uint8, set uint8, key uint8, down bool, mods modifiers) []uint8 {
	switch {
	case set == 3:
		return single(p, set, set3[key], down)
	case key == keyPause && mods&modCtrl == 0:
		if !down {
			return p // it has no release
		}
		if set == 1 {
			return append(p, prefixPause, 0x1d, 0x45, prefixPause, 0x9d, 0xc5)
		}
		return append(p, prefixPause, 0x14, 0x77, prefixPause, prefixBreak, 0x14, prefixBreak, 0x77)
	case key == keyPrint && mods&modAlt != 0:
		key = keySysRq
	case key == keyPrint && mods&(modCtrl|modShift) == 0:
		// As if a shift key were held: Print is that of an old keypad.
		if down {
			p = extended(p, set, keyLeftShift, true)
			return extended(p, set, keyPrint&^keyExtended, true)
		}
		p = extended(p, set, keyPrint&^keyExtended, false)
		return extended(p, set, keyLeftShift, false)
	}
	if key&keyExtended != 0 {
		return extended(p, set, key&^keyExtended, down)
	}
	return plain(p, set, key, down)
}

func extended(p []uint8, set, key uint8, down bool) []uint8 {
	if key == 0 || set == 2 && set2[key] == 0 {
		return p
	}
	return plain(append(p, prefixExtended), set, key, down)
}

func plain(p []uint8, set, key uint8, down bool) []uint8 {
	if set == 2 {
		return single(p, set, set2[key], down)
	}
	return single(p, set, key, down)
}

func single(p []uint8, set, code uint8, down bool) []uint8 {
	switch {
	case code == 0:
		return p
	case down:
		return append(p, code)
	case set == 1:
		return append(p, code|0x80)
	}
	return append(p, prefixBreak, code)
}
