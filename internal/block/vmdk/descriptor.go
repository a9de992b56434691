package vmdk

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"govmd/internal/block"
)

const (
	// maxDescriptor is the longest description that is read, in bytes.
	maxDescriptor = 1 << 20
	// maxExtents is the most extents that an image has.
	maxExtents = 4096
	// noParent is the parentCID of an image without a backing file.
	noParent = 0xffffffff
)

// extentLine is a line of the description that names an extent.
type extentLine struct {
	access  string // RW, RDONLY or NOACCESS
	sectors int64
	kind    string // FLAT, SPARSE, ...
	name    string // of the file, relative to that of the description
	offset  int64  // of flat data in the file, in sectors
}

// descriptor is what the text says that describes an image.
type descriptor struct {
	text       []byte
	off        int64 // where in the file the text is
	cid        uint32
	parentCID  uint32
	createType string
	parent     string // the backing file
	extents    []extentLine
}

// isDescriptor reports whether text is a description: after comments and blank
// lines comes the version.
func isDescriptor(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line[len(line)-1] != '\n' {
			return false // cut off
		}
		switch s := strings.TrimRight(string(line), "\r\n"); {
		case strings.HasPrefix(s, "#") || strings.Trim(s, " ") == "":
		default:
			return s == "version=1" || s == "version=2" || s == "version=3"
		}
	}
	return false
}

// value returns where the value of the first line "KEY=..." is in the text.
func (d *descriptor) value(key string) (from, to int, ok bool) {
	at := 0
	for line := range bytes.Lines(d.text) {
		if rest, found := bytes.CutPrefix(line, []byte(key+"=")); found {
			from = at + len(key) + 1
			return from, from + len(bytes.TrimRight(rest, " \t\r\n")), true
		}
		at += len(line)
	}
	return 0, 0, false
}

// parse reads the description of an image. The text ends at the first NUL.
func parse(file *block.Child, off int64, text []byte) (*descriptor, error) {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	d := &descriptor{text: text, off: off, parentCID: noParent}
	get := func(key string) (string, int64) {
		from, to, _ := d.value(key)
		return strings.Trim(string(text[from:to]), `"`), off + int64(from)
	}
	for _, n := range []struct {
		key string
		to  *uint32
	}{{"CID", &d.cid}, {"parentCID", &d.parentCID}} {
		s, at := get(n.key)
		v, err := strconv.ParseUint(s, 16, 32)
		if err != nil && (s != "" || n.key == "CID") {
			return nil, block.Malformed(file, at, n.key, "%q is no hexadecimal number of 32 bits", clip(s))
		}
		if s != "" {
			*n.to = uint32(v)
		}
	}
	d.createType, _ = get("createType")
	d.parent, _ = get("parentFileNameHint")
	at := off
	for line := range bytes.Lines(text) {
		s := strings.TrimSpace(string(line))
		if word, _, _ := strings.Cut(s, " "); word == "RW" || word == "RDONLY" || word == "NOACCESS" {
			x, ok := parseExtent(s)
			if !ok {
				return nil, block.Malformed(file, at, "extent", "invalid extent line: %s", clip(s))
			}
			if len(d.extents) == maxExtents {
				return nil, block.Malformed(file, at, "extent", "there are more than %d", maxExtents)
			}
			d.extents = append(d.extents, x)
		}
		at += int64(len(line))
	}
	return d, nil
}

// clip shortens what a message quotes.
func clip(s string) string { return s[:min(len(s), 80)] }

// parseExtent reads a line such as
//
//	RW 6144 FLAT "disk-flat.vmdk" 0
func parseExtent(s string) (x extentLine, ok bool) {
	head, rest, quoted := strings.Cut(s, `"`)
	f := strings.Fields(head)
	if len(f) != 3 {
		return x, false
	}
	n, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || n <= 0 || n > 1<<48 {
		return x, false
	}
	x = extentLine{access: f[0], sectors: n, kind: f[2]}
	if !quoted {
		return x, x.kind == "ZERO"
	}
	name, tail, ended := strings.Cut(rest, `"`)
	x.name = name
	if tail = strings.TrimSpace(tail); tail != "" {
		first, _, _ := strings.Cut(tail, " ")
		if x.offset, err = strconv.ParseInt(first, 10, 64); err != nil || x.offset < 0 || x.offset > 1<<48 {
			return x, false
		}
	}
	return x, ended && name != ""
}

// newDescriptor returns the description of a new image. extents are its lines.
func newDescriptor(o *CreateOptions, cid, parentCID uint32, createType, parent, extents string, sectors int64) string {
	adapter, hw, tools := "ide", "4", "2147483647"
	if o.AdapterType != nil {
		adapter = string(*o.AdapterType)
	}
	if o.HWVersion != nil {
		hw = *o.HWVersion
	}
	if o.ToolsVersion != nil {
		tools = *o.ToolsVersion
	}
	heads := int64(16)
	if adapter != "ide" {
		heads = 255
	}
	hint := ""
	if parent != "" {
		hint = fmt.Sprintf("parentFileNameHint=\"%s\"\n", parent)
	}
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
CID=%08x
parentCID=%08x
createType="%s"
%s
# Extent description
%s
# The Disk Data Base
#DDB

ddb.virtualHWVersion = "%s"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "63"
ddb.adapterType = "%s"
ddb.toolsVersion = "%s"
`, cid, parentCID, createType, hint, extents, hw, sectors/(63*heads), heads, adapter, tools)
}
