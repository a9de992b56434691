// Package option reads QEMU's option syntax: key=value lists, their JSON form,
// and the scalar values in them.
package option

import (
	"errors"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// ErrSyntax is a scalar that is not of the form wanted, ErrRange one out of range.
var (
	ErrSyntax = errors.New("invalid syntax")
	ErrRange  = errors.New("value out of range")
)

// ParseBool reads on/off, yes/no, true/false and y/n.
func ParseBool(s string) (bool, error) {
	switch s {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	}
	return false, ErrSyntax
}

// ParseSize reads a byte count: decimal with an optional fraction, or
// hexadecimal, and an optional suffix B, k, M, G, T, P or E (powers of 1024, in
// either case).
func ParseSize(s string) (uint64, error) { return ParseSizeUnit(s, 1) }

// ParseSizeUnit is ParseSize for options whose numbers without a suffix count
// units of unit bytes, as -m counts MiB.
func ParseSizeUnit(s string, unit uint64) (uint64, error) {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 64)
		if err != nil {
			return 0, scalarError(err)
		}
		return scale(n, unit)
	}
	if s == "" {
		return 0, ErrSyntax
	}
	const suffixes = "bkmgtpe"
	number := s
	if i := strings.IndexByte(suffixes, s[len(s)-1]|0x20); i >= 0 {
		unit = 1 << (10 * i)
		number = s[:len(s)-1]
	}
	whole, fraction, dotted := strings.Cut(number, ".")
	for _, c := range whole + fraction {
		if c < '0' || c > '9' {
			return 0, ErrSyntax
		}
	}
	if whole == "" {
		return 0, ErrSyntax
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil {
		return 0, scalarError(err)
	}
	if n, err = scale(n, unit); err != nil || !dotted || fraction == "" {
		return n, err
	}
	f, err := strconv.ParseFloat("0."+fraction, 64)
	if err != nil {
		return 0, ErrSyntax
	}
	if f > 0 && unit == 1 {
		return 0, ErrSyntax // half a byte
	}
	part := uint64(math.Round(f * float64(unit)))
	if n+part < n {
		return 0, ErrRange
	}
	return n + part, nil
}

func scale(n, unit uint64) (uint64, error) {
	hi, lo := bits.Mul64(n, unit)
	if hi != 0 {
		return 0, ErrRange
	}
	return lo, nil
}

func scalarError(err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return ErrRange
	}
	return ErrSyntax
}
