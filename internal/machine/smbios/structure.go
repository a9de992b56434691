package smbios

// structure is one structure while it is put together: the formatted area,
// then the strings that its bytes refer to by number (section 6.1).
type structure struct {
	b       []byte
	strings []byte
	n       byte // strings so far
}

const maxStrings = 255

func newStructure(kind uint8, handle uint16) *structure {
	return &structure{b: le.AppendUint16([]byte{kind, 0}, handle)}
}

func (s *structure) byte(v ...byte)  { s.b = append(s.b, v...) }
func (s *structure) word(v uint16)   { s.b = le.AppendUint16(s.b, v) }
func (s *structure) dword(v uint32)  { s.b = le.AppendUint32(s.b, v) }
func (s *structure) qword(v uint64)  { s.b = le.AppendUint64(s.b, v) }
func (s *structure) string(v string) { s.b = append(s.b, s.addString(v)) }

// addString returns the number of a string, 0 for none.
func (s *structure) addString(v string) byte {
	if v == "" || s.n == maxStrings {
		return 0
	}
	s.strings = append(append(s.strings, v...), 0)
	s.n++
	return s.n
}

// bytes is the finished structure. Two zero bytes end it; the last string
// brings the first of them along.
func (s *structure) bytes() []byte {
	s.b[1] = byte(len(s.b))
	out := append(s.b, s.strings...)
	if s.n == 0 {
		out = append(out, 0)
	}
	return append(out, 0)
}

// next splits the first structure off a table. ok is false if b does not begin
// with a whole one.
func next(b []byte) (first, rest []byte, ok bool) {
	if len(b) < 4 || b[1] < 4 || len(b) < int(b[1])+2 {
		return nil, nil, false
	}
	for i := int(b[1]); i+1 < len(b); i++ {
		if b[i] == 0 && b[i+1] == 0 {
			return b[:i+2], b[i+2:], true
		}
	}
	return nil, nil, false
}
