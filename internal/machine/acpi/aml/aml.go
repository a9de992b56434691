// Package aml encodes ACPI Machine Language: the byte code of DSDT and SSDT
// tables (ACPI 6.5, chapter 20).
//
// Every function returns a Term, a piece of finished byte code, and takes the
// pieces it is made of; a table is written as one nested expression:
//
//	aml.Scope(`\_SB`,
//		aml.Device("COM1",
//			aml.Name("_HID", aml.EISAID("PNP0501")),
//			aml.Name("_CRS", aml.Resources(
//				aml.IO(0x3f8, 0x3f8, 1, 8),
//				aml.IRQNoFlags(4)))))
//
// The code is the program's own, never a guest's or a user's: a malformed name
// or a number out of its range is a bug in the caller, and panics.
package aml

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Term is encoded AML: an object, an expression, a statement or a run of them.
type Term []byte

// Opcodes used in more than one place (section 20.3).
const (
	opZero      = 0x00
	opOne       = 0x01
	opName      = 0x08
	opByte      = 0x0a
	opWord      = 0x0b
	opDWord     = 0x0c
	opString    = 0x0d
	opQWord     = 0x0e
	opScope     = 0x10
	opBuffer    = 0x11
	opPackage   = 0x12
	opVarPkg    = 0x13
	opMethod    = 0x14
	opDualName  = 0x2e
	opMultiName = 0x2f
	opExt       = 0x5b
)

// Join returns the terms one after another, as one.
func Join(terms ...Term) Term {
	n := 0
	for _, t := range terms {
		n += len(t)
	}
	out := make(Term, 0, n)
	for _, t := range terms {
		out = append(out, t...)
	}
	return out
}

// maxPkgLength is the largest length that a PkgLength can hold: 28 bits.
const maxPkgLength = 1<<28 - 1

// pkgLength encodes the length of a package whose content after the PkgLength
// is n bytes long. The encoded number counts its own bytes too.
func pkgLength(n int) Term {
	switch {
	case n+1 < 1<<6:
		return fieldLength(n + 1)
	case n+2 < 1<<12:
		return fieldLength(n + 2)
	case n+3 < 1<<20:
		return fieldLength(n + 3)
	default:
		return fieldLength(n + 4)
	}
}

// fieldLength encodes n in the form of a PkgLength without adding anything, as
// field lists do for their bit counts (section 20.2.4).
func fieldLength(n int) Term {
	low, high := byte(n&0xf), n>>4
	switch {
	case n < 0 || n > maxPkgLength:
		panic(fmt.Sprintf("aml: length %d out of range", n))
	case n < 1<<6:
		return Term{byte(n)}
	case n < 1<<12:
		return Term{1<<6 | low, byte(high)}
	case n < 1<<20:
		return Term{2<<6 | low, byte(high), byte(high >> 8)}
	default:
		return Term{3<<6 | low, byte(high), byte(high >> 8), byte(high >> 16)}
	}
}

// pkg is an opcode, the length of what follows, and that.
func pkg(op Term, body ...Term) Term {
	content := Join(body...)
	return Join(op, pkgLength(len(content)), content)
}

// Ref is a reference to a named object: `\_SB.PCI0`, "^LNKA", "PRQ0". As a term
// it evaluates the object; Store and its like write to it.
func Ref(path string) Term {
	rest := strings.TrimLeft(path, `\^`)
	prefix := path[:len(path)-len(rest)]
	if strings.Contains(prefix, `\`) && prefix != `\` {
		panic("aml: malformed name " + path)
	}
	out := Term(prefix)
	if rest == "" {
		return append(out, 0)
	}
	segs := strings.Split(rest, ".")
	switch {
	case len(segs) > 255:
		panic("aml: name too long: " + path)
	case len(segs) > 2:
		out = append(out, opMultiName, byte(len(segs)))
	case len(segs) == 2:
		out = append(out, opDualName)
	}
	for _, seg := range segs {
		out = append(out, nameSeg(seg)...)
	}
	return out
}

// nameSeg pads a name of one to four characters with underscores.
func nameSeg(seg string) Term {
	if len(seg) == 0 || len(seg) > 4 {
		panic(fmt.Sprintf("aml: name segment %q is not one to four characters", seg))
	}
	for i, c := range []byte(seg) {
		lead := c >= 'A' && c <= 'Z' || c == '_'
		if !lead && (i == 0 || c < '0' || c > '9') {
			panic(fmt.Sprintf("aml: bad character in name segment %q", seg))
		}
	}
	return Term((seg + "___")[:4])
}

// Int is an integer constant in its shortest form.
func Int(v uint64) Term {
	switch {
	case v == 0:
		return Term{opZero}
	case v == 1:
		return Term{opOne}
	case v < 1<<8:
		return Term{opByte, byte(v)}
	case v < 1<<16:
		return binary.LittleEndian.AppendUint16(Term{opWord}, uint16(v))
	case v < 1<<32:
		return binary.LittleEndian.AppendUint32(Term{opDWord}, uint32(v))
	default:
		return binary.LittleEndian.AppendUint64(Term{opQWord}, v)
	}
}

// String is an ASCII string constant.
func String(s string) Term {
	for _, c := range []byte(s) {
		if c == 0 || c > 0x7f {
			panic(fmt.Sprintf("aml: string %q is not ASCII", s))
		}
	}
	return append(append(Term{opString}, s...), 0)
}

// EISAID is a plug-and-play identifier of the form "PNP0A03", packed into an
// integer (section 19.3.4).
func EISAID(id string) Term {
	if len(id) != 7 {
		panic("aml: malformed EISA id " + id)
	}
	product, err := strconv.ParseUint(id[3:], 16, 16)
	if err != nil {
		panic("aml: malformed EISA id " + id)
	}
	var vendor uint16
	for _, c := range []byte(id[:3]) {
		if c < 'A' || c > 'Z' {
			panic("aml: malformed EISA id " + id)
		}
		vendor = vendor<<5 | uint16(c-'@')
	}
	return Term{opDWord, byte(vendor >> 8), byte(vendor), byte(product >> 8), byte(product)}
}

// Buffer is a buffer that holds data.
func Buffer(data []byte) Term {
	return pkg(Term{opBuffer}, Int(uint64(len(data))), data)
}

// Package is a list of constants and references.
func Package(elements ...Term) Term {
	if len(elements) > 255 {
		return pkg(Term{opVarPkg}, Int(uint64(len(elements))), Join(elements...))
	}
	return pkg(Term{opPackage}, Term{byte(len(elements))}, Join(elements...))
}
