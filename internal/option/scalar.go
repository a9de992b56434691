// Package option reads QEMU's option syntax.
//
// There are three forms. The classic one is a flat list, "driver,key=value,flag",
// read by Parse and checked by a Schema. Options that carry structured values
// are read by ParseKeyval, in which dotted keys make nested values
// ("file.driver=nbd,list.0=a"), or are a JSON value: ParseValue takes both.
//
// The texts of errors are those that QEMU's users know.
package option

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// Errors of the Parse functions for single values.
var (
	ErrSyntax = errors.New("malformed value")
	ErrRange  = errors.New("value out of range")
)

// ParseBool reads on, yes, true or y, or off, no, false or n.
func ParseBool(s string) (bool, error) {
	switch s {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	}
	return false, ErrSyntax
}

// ParseInt reads a decimal, 0x hexadecimal or 0 octal integer.
func ParseInt(s string) (int64, error) {
	neg, digits, base, err := integer(s)
	if err != nil {
		return 0, err
	}
	if neg {
		digits = "-" + digits
	}
	n, err := strconv.ParseInt(digits, base, 64)
	return n, kind(err)
}

// ParseUint reads a decimal, 0x hexadecimal or 0 octal integer. As in C, a
// negative number counts down from 2^64.
func ParseUint(s string) (uint64, error) {
	neg, digits, base, err := integer(s)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if neg {
		n = -n
	}
	return n, kind(err)
}

// ParseFloat reads a finite number.
func ParseFloat(s string) (float64, error) {
	s = trimSpace(s)
	for _, c := range s {
		if c == '_' {
			return 0, ErrSyntax
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err == nil && (math.IsInf(f, 0) || math.IsNaN(f)) {
		return 0, ErrSyntax
	}
	return f, kind(err)
}

func kind(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return ErrRange
	}
	return ErrSyntax
}

func trimSpace(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] >= '\t' && s[0] <= '\r') {
		s = s[1:]
	}
	return s
}

// integer takes the sign and the base off an integer as C's strtoll reads it.
func integer(s string) (neg bool, digits string, base int, err error) {
	s = trimSpace(s)
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	base = 10
	switch {
	case len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x':
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	if s == "" || s[0] == '-' || s[0] == '+' {
		return false, "", 0, ErrSyntax
	}
	return neg, s, base, nil
}

// ParseSize reads a number of bytes: a decimal number with an optional fraction
// and an optional suffix B, k, M, G, T, P or E (powers of 1024, either case), or
// a hexadecimal number ("0x1000").
func ParseSize(s string) (uint64, error) { return ParseSizeIn(s, 'B') }

// ParseSizeIn is ParseSize with the suffix that a number without one is taken
// to have: 'M' for the size of the memory.
func ParseSizeIn(s string, unit byte) (uint64, error) {
	s = trimSpace(s)
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		return hexSize(s[2:], unit)
	}
	n := digitsLen(s)
	if n == 0 {
		return 0, ErrSyntax
	}
	whole, err := strconv.ParseUint(s[:n], 10, 64)
	if err != nil {
		return 0, kind(err)
	}
	s = s[n:]
	fraction := 0.0
	if s != "" && s[0] == '.' {
		n := 1 + digitsLen(s[1:])
		if n > 1 {
			fraction, _ = strconv.ParseFloat("0"+s[:n], 64)
		}
		s = s[n:]
	}
	shift, err := suffix(s, unit)
	if err != nil {
		return 0, err
	}
	if fraction > 0 && shift == 0 {
		return 0, ErrSyntax // a fraction of a byte
	}
	hi, size := bits.Mul64(whole, 1<<shift)
	size, carry := bits.Add64(size, uint64(fraction*float64(uint64(1)<<shift)+0.5), 0)
	if hi != 0 || carry != 0 {
		return 0, ErrRange
	}
	return size, nil
}

// SizeText returns a number of bytes as people are shown it, in the unit of which
// there are less than 1000: "16 MiB".
func SizeText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, i := float64(n), 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}

func hexSize(s string, unit byte) (uint64, error) {
	n := 0
	for n < len(s) && isHex(s[n]) {
		n++
	}
	whole, err := strconv.ParseUint(s[:n], 16, 64)
	if err != nil {
		return 0, kind(err)
	}
	shift, err := suffix(s[n:], unit)
	if err != nil {
		return 0, err
	}
	hi, size := bits.Mul64(whole, 1<<shift)
	if hi != 0 {
		return 0, ErrRange
	}
	return size, nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func digitsLen(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

// suffix returns the power of two that s, or without s unit, stands for.
func suffix(s string, unit byte) (shift uint, err error) {
	switch len(s) {
	case 0:
	case 1:
		unit = s[0]
	default:
		return 0, ErrSyntax
	}
	switch unit | 0x20 {
	case 'b':
		return 0, nil
	case 'k':
		return 10, nil
	case 'm':
		return 20, nil
	case 'g':
		return 30, nil
	case 't':
		return 40, nil
	case 'p':
		return 50, nil
	case 'e':
		return 60, nil
	}
	return 0, ErrSyntax
}
