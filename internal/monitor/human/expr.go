package human

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// maxDepth bounds how deep an expression is nested.
const maxDepth = 200

var (
	errDepth      = errors.New("expression is nested too deeply")
	errNoRegister = errors.New("unknown register")
)

// text is what is left of a command line.
type text struct {
	s   string
	pos int
	// register returns the value of a vCPU's register.
	register func(name string) (int64, error)
}

// peek returns the next byte, 0 at the end. The line itself holds none.
func (t *text) peek() byte {
	if t.pos < len(t.s) {
		return t.s[t.pos]
	}
	return 0
}

func (t *text) end() bool { return t.pos >= len(t.s) }

func (t *text) skipSpace() {
	for isSpace(t.peek()) {
		t.pos++
	}
}

// next goes to what follows a byte and the blanks after it.
func (t *text) next() {
	if !t.end() {
		t.pos++
		t.skipSpace()
	}
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// expr evaluates an expression. Of its operators * / % bind most, then & | ^, then
// + and -; those of one rank go from left to right. Numbers are decimal, 0x
// hexadecimal or 0 octal, 'c' is a character, $eip a register.
func (t *text) expr() (int64, error) {
	t.skipSpace()
	return t.sum(0)
}

func (t *text) sum(depth int) (int64, error) {
	v, err := t.logic(depth)
	for err == nil {
		op := t.peek()
		if op != '+' && op != '-' {
			break
		}
		t.next()
		var w int64
		if w, err = t.logic(depth); op == '+' {
			v += w
		} else {
			v -= w
		}
	}
	return v, err
}

func (t *text) logic(depth int) (int64, error) {
	v, err := t.product(depth)
	for err == nil {
		op := t.peek()
		if op != '&' && op != '|' && op != '^' {
			break
		}
		t.next()
		var w int64
		w, err = t.product(depth)
		switch op {
		case '&':
			v &= w
		case '|':
			v |= w
		default:
			v ^= w
		}
	}
	return v, err
}

func (t *text) product(depth int) (int64, error) {
	v, err := t.unary(depth)
	for err == nil {
		op := t.peek()
		if op != '*' && op != '/' && op != '%' {
			break
		}
		t.next()
		var w int64
		if w, err = t.unary(depth); err != nil {
			break
		}
		switch {
		case op == '*':
			v *= w
		case w == 0:
			return 0, errors.New("division by zero")
		case w == -1: // the least number has no opposite
			if v = -v; op == '%' {
				v = 0
			}
		case op == '/':
			v /= w
		default:
			v %= w
		}
	}
	return v, err
}

func (t *text) unary(depth int) (int64, error) {
	if depth++; depth > maxDepth {
		return 0, errDepth
	}
	switch c := t.peek(); c {
	case '+':
		t.next()
		return t.unary(depth)
	case '-':
		t.next()
		v, err := t.unary(depth)
		return -v, err
	case '~':
		t.next()
		v, err := t.unary(depth)
		return ^v, err
	case '(':
		t.next()
		v, err := t.sum(depth)
		if err == nil && t.peek() != ')' {
			err = errors.New("')' expected")
		}
		t.next()
		return v, err
	case '\'':
		return t.character()
	case '$':
		t.pos++
		start := t.pos
		for c := t.peek(); isWord(c) || c == '.'; c = t.peek() {
			t.pos++
		}
		name := t.s[start:t.pos]
		t.skipSpace()
		if name == "" || t.register == nil {
			return 0, errNoRegister
		}
		return t.register(name)
	case 0:
		return 0, errors.New("unexpected end of expression")
	}
	return t.number()
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (t *text) character() (int64, error) {
	t.pos++
	if t.end() {
		return 0, errors.New("character constant expected")
	}
	c := t.peek()
	t.pos++
	if t.peek() != '\'' {
		return 0, errors.New("missing terminating ' character")
	}
	t.next()
	return int64(c), nil
}

// number reads a number as C's strtoull does.
func (t *text) number() (int64, error) {
	base, digits := 10, t.pos
	if t.peek() == '0' {
		base = 8
		if rest := t.s[t.pos+1:]; len(rest) > 1 && (rest[0] == 'x' || rest[0] == 'X') && digit(rest[1]) < 16 {
			base, digits = 16, t.pos+2
		}
	}
	end := digits
	for end < len(t.s) && digit(t.s[end]) < base {
		end++
	}
	if end == digits {
		return 0, fmt.Errorf("invalid char '%c' in expression", t.peek())
	}
	v, err := strconv.ParseUint(t.s[digits:end], base, 64)
	if err != nil {
		return 0, errors.New("number too large")
	}
	t.pos = end
	t.skipSpace()
	return int64(v), nil
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return math.MaxInt
}
