package smbios

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"govmd/internal/option"
)

// Pair is one key=value of a -smbios option.
type Pair struct{ Key, Value string }

// ReadFile returns the content of a file that an option names.
type ReadFile func(name string) ([]byte, error)

// options is what the user asked for.
type options struct {
	fields  map[uint8]map[string]string // single structures: by type, then key
	given   map[uint8]bool              // types given by fields
	loaded  map[uint8]bool              // types given by file
	raw     [][]byte                    // structures from files, in order
	strings []string                    // type 11
	ports   []map[string]string         // type 8
	devices []map[string]string         // type 41
	uuid    *[16]byte
}

// kind of value that a key takes.
type kind int

const (
	text kind = iota
	number
	onOff
)

// keys are what each type can be given.
var keys = map[uint8]map[string]kind{
	0: {"vendor": text, "version": text, "date": text, "release": text, "uefi": onOff},
	1: {"manufacturer": text, "product": text, "version": text, "serial": text, "uuid": text, "sku": text, "family": text},
	2: {"manufacturer": text, "product": text, "version": text, "serial": text, "asset": text, "location": text},
	3: {"manufacturer": text, "version": text, "serial": text, "asset": text, "sku": text},
	4: {"sock_pfx": text, "manufacturer": text, "version": text, "serial": text, "asset": text, "part": text,
		"max-speed": number, "current-speed": number, "processor-id": number},
	8:  {"internal_reference": text, "external_reference": text, "connector_type": number, "port_type": number},
	11: {"value": text, "path": text},
	17: {"loc_pfx": text, "bank": text, "manufacturer": text, "serial": text, "asset": text, "part": text, "speed": number},
	41: {"designation": text, "kind": text, "instance": number, "pcidev": text},
}

// deviceKinds are the values of a type 41 entry's kind, from 1 on (7.42.2).
var deviceKinds = []string{"other", "unknown", "video", "scsi", "ethernet", "tokenring", "sound", "pata", "sata", "sas"}

// Limits on what options can add up to.
const (
	maxOptions = 4096
	maxOfType  = 256 // for types whose options add up
	maxFile    = 64 << 10
)

// Add takes one -smbios option: "type=N,key=value,..." or "file=NAME". A later
// one of the same type overrides single keys of an earlier one; types 8, 11 and
// 41 add up. Files are read through read.
func (c *Config) Add(pairs []Pair, read ReadFile) error {
	u := &c.user
	if u.fields == nil {
		u.fields, u.given, u.loaded = map[uint8]map[string]string{}, map[uint8]bool{}, map[uint8]bool{}
	}
	if len(u.raw)+len(u.strings)+len(u.ports)+len(u.devices) > maxOptions {
		return errors.New("too many SMBIOS structures")
	}
	if name, ok := last(pairs, "file"); ok {
		for _, p := range pairs {
			if p.Key != "file" {
				return invalidParameter(p.Key, []string{"file"})
			}
		}
		return u.addFile(name, read)
	}
	value, ok := last(pairs, "type")
	if !ok {
		return qemuError("Must specify type= or file=")
	}
	return u.addFields(value, pairs, read)
}

func last(pairs []Pair, key string) (value string, ok bool) {
	for _, p := range pairs {
		if p.Key == key {
			value, ok = p.Value, true
		}
	}
	return value, ok
}

func invalidParameter(key string, known []string) error {
	return qemuErrorf("Invalid parameter '%s'%s", key, option.DidYouMean(key, known))
}

// qemuError is an error whose text clients of QEMU know.
type qemuError string

func (e qemuError) Error() string { return string(e) }

func qemuErrorf(format string, args ...any) error { return qemuError(fmt.Sprintf(format, args...)) }

func parseNumber(key, value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 0, 64)
	if err != nil {
		return 0, qemuErrorf("Parameter '%s' expects a number", key)
	}
	return n, nil
}

// reason is what went wrong with a file, without the name of the file.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

func (u *options) addFields(typeText string, pairs []Pair, read ReadFile) error {
	if strings.HasPrefix(typeText, "-") {
		return qemuError("out of range!")
	}
	n, err := parseNumber("type", typeText)
	if err != nil {
		return err
	}
	if n > 255 {
		return qemuError("out of range!")
	}
	t := uint8(n)
	known, ok := keys[t]
	if !ok {
		return qemuErrorf("Don't know how to build fields for SMBIOS type %d", t)
	}
	if u.loaded[t] {
		return qemuError("can't add fields, binary file already loaded!")
	}
	values := map[string]string{}
	var list []string
	for _, p := range pairs {
		if p.Key == "type" {
			continue
		}
		want, ok := known[p.Key]
		if !ok {
			return invalidParameter(p.Key, slices.Sorted(maps.Keys(known)))
		}
		if strings.IndexByte(p.Value, 0) >= 0 {
			return fmt.Errorf("parameter '%s' has a zero byte", p.Key)
		}
		switch want {
		case number:
			_, err = parseNumber(p.Key, p.Value)
		case onOff:
			_, err = option.BoolValue(p.Key, p.Value)
		}
		if err == nil {
			err = u.check(t, p, &list, read)
		}
		if err != nil {
			return err
		}
		values[p.Key] = p.Value
	}
	u.given[t] = true
	switch t {
	case 8:
		if len(u.ports) == maxOfType {
			return fmt.Errorf("more than %d SMBIOS structures of type 8", maxOfType)
		}
		u.ports = append(u.ports, values)
	case 11:
		u.strings = append(u.strings, list...)
	case 41:
		if len(u.devices) == maxOfType {
			return fmt.Errorf("more than %d SMBIOS structures of type 41", maxOfType)
		}
		u.devices = append(u.devices, values)
	default:
		if u.fields[t] == nil {
			u.fields[t] = map[string]string{}
		}
		for k, v := range values {
			u.fields[t][k] = v
		}
	}
	return nil
}

// check looks at values that are more than a string or a number.
func (u *options) check(t uint8, p Pair, list *[]string, read ReadFile) error {
	switch {
	case t == 0 && p.Key == "release":
		if _, _, ok := parseRelease(p.Value); !ok {
			return qemuError("Invalid release")
		}
	case t == 1 && p.Key == "uuid":
		id, err := ParseUUID(p.Value)
		if err != nil {
			return qemuError("Invalid UUID")
		}
		u.uuid = &id
	case t == 4 && p.Key == "max-speed" || t == 4 && p.Key == "current-speed":
		if n, _ := parseNumber(p.Key, p.Value); n > 0xffff {
			return qemuError("SMBIOS CPU speed is too large (> 65535)")
		}
	case t == 17 && p.Key == "speed":
		if n, _ := parseNumber(p.Key, p.Value); n > 0xffff {
			return fmt.Errorf("SMBIOS memory speed is too large (> 65535)")
		}
	case t == 8 && (p.Key == "connector_type" || p.Key == "port_type"), t == 41 && p.Key == "instance":
		if n, _ := parseNumber(p.Key, p.Value); n > 0xff {
			return fmt.Errorf("parameter '%s' is too large (> 255)", p.Key)
		}
	case t == 41 && p.Key == "kind":
		if deviceKind(p.Value) == 0 {
			return qemuErrorf("invalid parameter value: %s", p.Value)
		}
	case t == 11 && p.Key == "value":
		*list = append(*list, p.Value)
	case t == 11 && p.Key == "path":
		data, err := read(p.Value)
		if err != nil {
			return qemuErrorf("Could not open '%s': %s", p.Value, reason(err))
		}
		if len(data) > maxFile || strings.IndexByte(string(data), 0) >= 0 {
			return fmt.Errorf("SMBIOS string file '%s' is longer than %d bytes or has a zero byte", p.Value, maxFile)
		}
		*list = append(*list, string(data))
	}
	return nil
}

func deviceKind(name string) byte {
	for i, k := range deviceKinds {
		if k == name {
			return byte(i + 1)
		}
	}
	return 0
}

// parseRelease reads "major.minor".
func parseRelease(s string) (major, minor uint8, ok bool) {
	a, b, found := strings.Cut(s, ".")
	x, err1 := strconv.ParseUint(a, 10, 8)
	y, err2 := strconv.ParseUint(b, 10, 8)
	return uint8(x), uint8(y), found && err1 == nil && err2 == nil
}

// addFile takes the structures of a file as they are.
func (u *options) addFile(name string, read ReadFile) error {
	data, err := read(name)
	if err != nil || len(data) == 0 {
		return qemuErrorf("Cannot read SMBIOS file %s", name)
	}
	if len(data) > maxFile {
		return fmt.Errorf("SMBIOS file %s: %d bytes, more than %d", name, len(data), maxFile)
	}
	at := 0
	for at < len(data) {
		s, _, ok := next(data[at:])
		if !ok {
			return fmt.Errorf("SMBIOS file %s: no complete structure at offset %d: it needs a header, its strings and two zero bytes", name, at)
		}
		switch t := s[0]; {
		case t == 127:
			return fmt.Errorf("SMBIOS file %s: end-of-table structure (type 127) at offset %d", name, at)
		case u.given[t]:
			return qemuErrorf("can't load type %d struct, fields already specified!", t)
		}
		at += len(s)
	}
	for len(data) > 0 {
		s, rest, _ := next(data)
		u.loaded[s[0]] = true
		u.raw = append(u.raw, append([]byte(nil), s...))
		data = rest
	}
	return nil
}

// ParseUUID reads the text form of a UUID, with hyphens: 36 characters.
func ParseUUID(s string) (id [16]byte, err error) {
	if len(s) != 36 {
		return id, errors.New("a UUID has 36 characters")
	}
	n := 0
	for i := 0; i < len(s); {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return id, fmt.Errorf("UUID has %q in place of a hyphen", s[i])
			}
			i++
			continue
		}
		v, err := strconv.ParseUint(s[i:i+2], 16, 8)
		if err != nil {
			return id, fmt.Errorf("UUID has %q in place of a hexadecimal number", s[i:i+2])
		}
		id[n] = byte(v)
		n++
		i += 2
	}
	return id, nil
}
