package boot

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"govmd/internal/option"
)

// Pair is one key=value of an option.
type Pair struct{ Key, Value string }

// optionError is an error whose text clients of QEMU know.
type optionError string

func (e optionError) Error() string { return string(e) }

func optionErrorf(format string, args ...any) error { return optionError(fmt.Sprintf(format, args...)) }

// Order is what -boot says.
type Order struct {
	Order  string // letters: a and b floppies, c disk, d CD-ROM, n network
	Once   string // the same, for the first start only
	Menu   *bool
	Strict bool
	Splash string // file with a picture
	// SplashTime is how long firmware shows picture and menu, in milliseconds;
	// RebootTimeout how long it waits before it starts again when nothing
	// boots, -1 for ever. Both are -1 if not given.
	SplashTime, RebootTimeout int
}

// DefaultOrder is that of a PC: disk, floppy, CD-ROM.
const DefaultOrder = "cad"

// NewOrder is what holds without any -boot.
func NewOrder() Order { return Order{SplashTime: -1, RebootTimeout: -1} }

// orderKeys are what -boot has.
var orderKeys = []string{"order", "once", "menu", "strict", "splash", "splash-time", "reboot-timeout"}

// Add takes one -boot option. Later ones override single keys of earlier ones.
// A device list is checked for its letters here, for what a PC can do by CMOS.
func (o *Order) Add(pairs []Pair) error {
	for _, p := range pairs {
		var err error
		switch p.Key {
		case "order":
			o.Order, err = p.Value, checkDevices(p.Value)
		case "once":
			o.Once, err = p.Value, checkDevices(p.Value)
		case "menu":
			var on bool
			on, err = option.BoolValue("boot.menu", p.Value)
			o.Menu = &on
		case "strict":
			o.Strict, err = option.BoolValue("boot.strict", p.Value)
		case "splash":
			o.Splash = p.Value
		case "splash-time":
			o.SplashTime, err = parseTime("boot.splash-time", p.Value, 0,
				"splash-time is invalid,it should be a value between 0 and 65535")
		case "reboot-timeout":
			o.RebootTimeout, err = parseTime("boot.reboot-timeout", p.Value, -1,
				"reboot timeout is invalid,it should be a value between -1 and 65535")
		default:
			err = optionErrorf("Parameter 'boot.%s' is unexpected%s", p.Key, option.DidYouMean(p.Key, orderKeys))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkDevices(list string) error {
	var seen [256]bool
	for _, c := range []byte(list) {
		if c < 'a' || c > 'p' {
			return optionErrorf("Invalid boot device '%c'", c)
		}
		if seen[c] {
			return optionErrorf("Boot device '%c' was given twice", c)
		}
		seen[c] = true
	}
	return nil
}

func parseTime(key, value string, lowest int64, invalid string) (int, error) {
	n, err := strconv.ParseInt(value, 0, 64)
	if err != nil {
		return 0, optionErrorf("Parameter '%s' expects integer", key)
	}
	if n < lowest || n > 0xffff {
		return 0, optionError(invalid)
	}
	return int(n), nil
}

// Devices is the list in force at the first start, or at a later one.
func (o *Order) Devices(first bool) string {
	switch {
	case first && o.Once != "":
		return o.Once
	case o.Order != "":
		return o.Order
	default:
		return DefaultOrder
	}
}

// The CMOS registers in which a PC's firmware finds the order, and that which
// says in its lowest bit that a floppy's signature is not to be checked.
const (
	CMOSOrder      = 0x3d
	CMOSThirdOrder = 0x38
)

// EncodeCMOS is the content of CMOSOrder and CMOSThirdOrder for a list of
// devices.
func EncodeCMOS(devices string) (order, third uint8, err error) {
	if len(devices) > 3 {
		return 0, 0, optionError("Too many boot devices for PC")
	}
	var code [3]uint8
	for i, c := range []byte(devices) {
		switch c {
		case 'a', 'b':
			code[i] = 1
		case 'c':
			code[i] = 2
		case 'd':
			code[i] = 3
		case 'n':
			code[i] = 4
		default:
			return 0, 0, optionErrorf("Invalid boot device for PC: '%c'", c)
		}
	}
	return code[1]<<4 | code[0], code[2] << 4, nil
}

// BootEntry is one of the list of devices with a bootindex: Path is the device in Open
// Firmware's notation, "/pci@i0cf8/ide@1,1/drive@0/disk@0".
type BootEntry struct {
	Index int
	Path  string
}

// The fw_cfg files that carry the order to firmware. The menu has a numbered
// entry, a word that is 1 to show it.
const (
	OrderFile      = "bootorder"
	MenuKey        = 0x0e
	MenuWaitFile   = "etc/boot-menu-wait" // 2 bytes: SplashTime
	FailWaitFile   = "etc/boot-fail-wait" // 4 bytes: RebootTimeout
	SplashJPEGFile = "bootsplash.jpg"
	SplashBMPFile  = "bootsplash.bmp"
)

// EncodeOrder is the content of OrderFile: the paths by ascending index, a line
// each. With strict nothing that is not in the list is tried.
func EncodeOrder(entries []BootEntry, strict bool) ([]byte, error) {
	list := append([]BootEntry(nil), entries...)
	sort.SliceStable(list, func(i, j int) bool { return list[i].Index < list[j].Index })
	var lines []string
	for i, e := range list {
		if i > 0 && list[i-1].Index == e.Index {
			return nil, optionErrorf("The bootindex %d has already been used", e.Index)
		}
		lines = append(lines, e.Path)
	}
	if strict {
		lines = append(lines, "HALT")
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return append([]byte(strings.Join(lines, "\n")), 0), nil
}

// SplashName is the fw_cfg file that a picture goes into, by its format.
func SplashName(name string, data []byte) (string, error) {
	switch {
	case len(data) > 2 && data[0] == 0xff && data[1] == 0xd8:
		return SplashJPEGFile, nil
	case len(data) >= 30 && string(data[:2]) == "BM" && le.Uint16(data[28:]) == 24:
		return SplashBMPFile, nil
	}
	return "", optionErrorf("splash file '%s' format not recognized; must be JPEG or 24 bit BMP", name)
}
