package qmp

import (
	"fmt"
)

// HumanFormat is how a human command shows numbers: the "/4xw" of "x/4xw 0".
type HumanFormat struct {
	Count  int64
	Letter byte // o, d, u, x, c, or i for instructions
	Size   int  // in bytes: 1, 2, 4, 8; -1 for instructions
}

// Format returns the format among the arguments.
func (a HumanArgs) Format() HumanFormat {
	return HumanFormat{a.Int("count", 1), byte(a.Int("format", 'x')), int(a.Int("size", 4))}
}

// Value returns v as print shows it.
func (f HumanFormat) Value(v uint64) string {
	switch f.Letter {
	case 'x':
		return alternate("0x", "%x", v)
	case 'o':
		return alternate("0", "%o", v)
	case 'u':
		return fmt.Sprint(v)
	case 'c':
		return char(v)
	}
	return fmt.Sprint(int64(v))
}

// Column returns v, of f.Size bytes, as wide as all of that size are.
func (f HumanFormat) Column(v uint64) string {
	bits := f.Size * 8
	switch f.Letter {
	case 'x':
		return fmt.Sprintf("0x%0*x", bits/4, v)
	case 'o':
		return fmt.Sprintf("%*s", (bits+2)/3, f.Value(v))
	case 'c':
		return char(v)
	}
	return fmt.Sprintf("%*s", (bits*10+32)/33, f.Value(v))
}

// alternate writes a number with what tells its base, as C's %#x does: zero has none.
func alternate(prefix, verb string, v uint64) string {
	if v == 0 {
		return "0"
	}
	return prefix + fmt.Sprintf(verb, v)
}

func char(v uint64) string {
	for _, c := range []struct {
		v    uint64
		text string
	}{{'\'', `\'`}, {'\\', `\\`}, {'\n', `\n`}, {'\r', `\r`}} {
		if v == c.v {
			return "'" + c.text + "'"
		}
	}
	if v >= ' ' && v <= '~' {
		return "'" + string(rune(v)) + "'"
	}
	return fmt.Sprintf(`'\x%02x'`, v)
}
