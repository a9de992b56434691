package i8042

// Commands to a keyboard.
const (
	kbdSetLEDs      = 0xed
	kbdEcho         = 0xee
	kbdScanCodeSet  = 0xf0
	kbdIdentify     = 0xf2
	kbdSetRate      = 0xf3
	kbdEnable       = 0xf4
	kbdDisable      = 0xf5
	kbdDefaults     = 0xf6
	kbdAllTypematic = 0xf7 // to 0xfa: types of all keys, of set 3
	kbdAllBoth      = 0xfa
	kbdKeyTypematic = 0xfb // to 0xfd: types of the keys that follow
	kbdKeyMake      = 0xfd
	kbdResend       = 0xfe
	kbdReset        = 0xff
)

// Replies of keyboards and mice.
const (
	replyACK    = 0xfa
	replyResend = 0xfe
	replyPassed = 0xaa // the self-test is over
)

var keyboardID = [2]uint8{0xab, 0x83}

// keyboard is a PS/2 keyboard. All keys make and break and none repeats: it is
// for whoever presses keys to repeat them.
type keyboard struct {
	queue
	pending  uint8 // command that waits for its argument, or 0
	scanning bool
	set      uint8 // scan code set: 1, 2 or 3
	leds     uint8
	rate     uint8
	mods     modifiers
}

// modifiers are the keys that change what Print and Pause send.
type modifiers uint8

const (
	modCtrl modifiers = 1 << iota
	modRightCtrl
	modAlt
	modRightAlt
	modShift
	modRightShift
)

var modifierKeys = map[uint8]modifiers{
	keyLeftCtrl: modCtrl, keyRightCtrl: modRightCtrl, keyLeftAlt: modAlt, keyRightAlt: modRightAlt,
	keyLeftShift: modShift, keyRightShift: modRightShift,
}

// either returns m with each left key's bit set if either key is held.
func (m modifiers) either() modifiers { return m | m>>1&(modCtrl|modAlt|modShift) }

const defaultRate = 0x2b // 10.9 a second, after half a second

func (k *keyboard) reset() { *k = keyboard{set: 2, scanning: true, rate: defaultRate, mods: k.mods} }

func (k *keyboard) defaults() {
	k.data = ring{}
	k.set, k.rate, k.leds = 2, defaultRate, 0
}

// key queues what a key sends. It does nothing while nobody listens.
func (k *keyboard) key(num uint8, down bool) {
	if bit := modifierKeys[num]; down {
		k.mods |= bit
	} else {
		k.mods &^= bit
	}
	if !k.scanning {
		return
	}
	var buf [maxCodes]uint8
	k.send(codes(buf[:0], k.set, num, down, k.mods.either()))
}

// write takes a byte from the controller.
func (k *keyboard) write(b uint8) {
	if k.pending != 0 && b < kbdSetLEDs {
		k.argument(b)
		return
	}
	k.pending = 0
	switch b {
	case kbdEcho:
		k.reply(kbdEcho)
	case kbdSetLEDs, kbdSetRate, kbdScanCodeSet, kbdKeyTypematic, kbdKeyTypematic + 1, kbdKeyMake:
		k.pending = b
		k.reply(replyACK)
	case kbdIdentify:
		k.reply(replyACK, keyboardID[0], keyboardID[1])
	case kbdEnable:
		k.data = ring{}
		k.scanning = true
		k.reply(replyACK)
	case kbdDisable:
		k.defaults()
		k.scanning = false
		k.reply(replyACK)
	case kbdDefaults:
		k.defaults()
		k.reply(replyACK)
	case kbdAllTypematic, kbdAllTypematic + 1, kbdAllTypematic + 2, kbdAllBoth:
		k.reply(replyACK)
	case kbdResend:
		k.reply(k.last)
	case kbdReset:
		k.reset()
		k.reply(replyACK, replyPassed)
	default:
		k.reply(replyResend)
	}
}

func (k *keyboard) argument(b uint8) {
	cmd := k.pending
	k.pending = 0
	switch cmd {
	case kbdSetLEDs:
		k.leds = b & 7
	case kbdSetRate:
		k.rate = b & 0x7f
	case kbdScanCodeSet:
		if b == 0 {
			k.reply(replyACK, k.set)
			return
		}
		if b > 3 {
			k.reply(replyResend)
			return
		}
		k.set = b
	default:
		k.pending = cmd // any number of keys
	}
	k.reply(replyACK)
}
