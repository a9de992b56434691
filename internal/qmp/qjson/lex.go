package qjson

import "bytes"

// Limits on one message, as QEMU has them.
const (
	MaxDepth  = 1024     // containers inside each other
	MaxSize   = 64 << 20 // bytes in all tokens together
	MaxTokens = 2 << 20
)

// SyntaxError is malformed input. Its text is the description of the error that
// a QMP client is sent.
type SyntaxError struct{ Text string }

func (e *SyntaxError) Error() string { return e.Text }

type lexState uint8

const (
	lexStart    lexState = iota
	lexRecover           // after an error: skips to where a value can begin
	lexString            // inside a string
	lexEscape            // after a backslash in a string
	lexKeyword           // a run of lower-case letters
	lexMinus             // numbers, by what has been read last
	lexZero              //
	lexInt               //
	lexPoint             //
	lexFraction          //
	lexE                 //
	lexESign             //
	lexExponent          //
)

type token uint8

const (
	tokBeginObject token = iota
	tokEndObject
	tokBeginArray
	tokEndArray
	tokColon
	tokComma
	tokString
	tokNumber
	tokKeyword
)

// Reader cuts a stream of bytes into values. The zero Reader is ready to use.
type Reader struct {
	// MaxSize and MaxTokens bound a message; 0 means the package's constants.
	MaxSize, MaxTokens int

	state lexState
	quote byte
	plain bool   // the string so far is its own decoding
	tok   []byte // the token being read, quotes and escapes included

	// The message being read.
	b               Builder
	want            expect
	err             *SyntaxError // the first grammatical error: reported at the end of the message
	braces, squares int          // how many are open
	size, tokens    int
}

// Scan reads from p up to the end of one message. It returns how much of p it
// consumed, and the message or an error when there is one; with neither, all of
// p is consumed and the message goes on. After an error reading can go on.
// The caller releases doc.
func (r *Reader) Scan(p []byte) (n int, doc *Doc, err error) {
	for i := 0; i < len(p); {
		c := p[i]
		switch r.state {
		case lexStart:
			var t token
			switch c {
			case ' ', '\t', '\r', '\n':
				i++
				continue
			case '{':
				t = tokBeginObject
			case '}':
				t = tokEndObject
			case '[':
				t = tokBeginArray
			case ']':
				t = tokEndArray
			case ':':
				t = tokColon
			case ',':
				t = tokComma
			default:
				i++
				r.tok = append(r.tok[:0], c)
				if !r.open(c) {
					return i, nil, r.stray()
				}
				continue
			}
			i++
			r.tok = append(r.tok[:0], c)
			if doc, err = r.token(t); doc != nil || err != nil {
				return i, doc, err
			}

		case lexRecover:
			if !syncByte(c) {
				i++
				continue
			}
			r.state = lexStart

		case lexString:
			j := i
			for j < len(p) && stringByte[p[j]] {
				j++
			}
			r.tok = append(r.tok, p[i:j]...)
			if len(r.tok)+r.size > r.maxSize() {
				return j, nil, r.fail("JSON token size limit exceeded")
			}
			if i = j; i == len(p) {
				break
			}
			c = p[i]
			i++
			r.tok = append(r.tok, c)
			switch {
			case c == r.quote:
				r.state = lexStart
				if doc, err = r.token(tokString); doc != nil || err != nil {
					return i, doc, err
				}
			case c == '"' || c == '\'': // the other kind of quote
			case c == '\\':
				r.state, r.plain = lexEscape, false
			case c >= 0x80 && c < 0xfe:
				r.plain = false
			default:
				return i, nil, r.stray()
			}

		case lexEscape:
			i++
			r.tok = append(r.tok, c)
			if c < 0x20 || c >= 0xfe {
				return i, nil, r.stray()
			}
			r.state = lexString

		default: // a keyword or number: it ends where the next token begins
			next, ok := r.step(c)
			if ok {
				i++
				r.state = next
				r.tok = append(r.tok, c)
				if len(r.tok)+r.size > r.maxSize() {
					return i, nil, r.fail("JSON token size limit exceeded")
				}
				continue
			}
			t := tokNumber
			switch r.state {
			case lexKeyword:
				t = tokKeyword
			case lexZero, lexInt, lexFraction, lexExponent:
				if r.state == lexZero && '0' <= c && c <= '9' {
					i++
					r.tok = append(r.tok, c)
					return i, nil, r.stray()
				}
			default:
				i++
				r.tok = append(r.tok, c)
				return i, nil, r.stray()
			}
			r.state = lexStart
			if doc, err = r.token(t); doc != nil || err != nil {
				return i, doc, err
			}
		}
	}
	return len(p), nil, nil
}

// open begins a token of more than one byte; false when none begins with c.
func (r *Reader) open(c byte) bool {
	switch {
	case c == '"' || c == '\'':
		r.state, r.quote, r.plain = lexString, c, true
	case 'a' <= c && c <= 'z':
		r.state = lexKeyword
	case c == '-':
		r.state = lexMinus
	case c == '0':
		r.state = lexZero
	case '1' <= c && c <= '9':
		r.state = lexInt
	default:
		return false
	}
	return true
}

// step returns the state after c within a keyword or number; false when c does
// not belong to it.
func (r *Reader) step(c byte) (lexState, bool) {
	digit := '0' <= c && c <= '9'
	switch r.state {
	case lexKeyword:
		return lexKeyword, 'a' <= c && c <= 'z'
	case lexMinus:
		if c == '0' {
			return lexZero, true
		}
		return lexInt, digit
	case lexZero, lexInt:
		switch {
		case digit:
			return lexInt, r.state == lexInt
		case c == '.':
			return lexPoint, true
		}
		return lexE, c == 'e' || c == 'E'
	case lexPoint:
		return lexFraction, digit
	case lexFraction:
		if digit {
			return lexFraction, true
		}
		return lexE, c == 'e' || c == 'E'
	case lexE:
		if c == '+' || c == '-' {
			return lexESign, true
		}
		return lexExponent, digit
	}
	return lexExponent, digit // lexESign, lexExponent
}

// syncByte reports whether c ends the skipping that follows an error. A client
// can send any control character, 0xFE or 0xFF to get there for certain.
func syncByte(c byte) bool {
	switch c {
	case '{', '}', '[', ']', ',', ':':
		return true
	}
	return c < 0x20 && c != '\t' || c >= 0xfe
}

// stringByte holds for the bytes that need no look inside a string.
var stringByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c < 0x80 && c != '"' && c != '\'' && c != '\\'
	}
	return t
}()

// maxQuoted bounds how much of a stray token is quoted in an error.
const maxQuoted = 256

// stray drops the message: the token does not belong to the language.
func (r *Reader) stray() error {
	tok := r.tok
	if i := bytes.IndexByte(tok, 0); i >= 0 {
		tok = tok[:i]
	}
	if len(tok) > maxQuoted {
		tok = tok[:maxQuoted]
	}
	return r.fail("JSON parse error, stray '" + string(tok) + "'")
}

// fail drops the message and skips what follows.
func (r *Reader) fail(text string) error {
	r.drop()
	r.state = lexRecover
	return &SyntaxError{text}
}

// drop forgets the message being read.
func (r *Reader) drop() {
	r.b.abandon()
	r.restart()
	if cap(r.tok) > keepText {
		r.tok = nil
	}
}

func (r *Reader) restart() {
	r.want, r.err = wantValue, nil
	r.braces, r.squares, r.size, r.tokens = 0, 0, 0, 0
}

// Reset forgets a message that is not complete, as when a client has gone.
func (r *Reader) Reset() {
	r.drop()
	r.state = lexStart
}

func (r *Reader) maxSize() int {
	if r.MaxSize > 0 {
		return r.MaxSize
	}
	return MaxSize
}

func (r *Reader) maxTokens() int {
	if r.MaxTokens > 0 {
		return r.MaxTokens
	}
	return MaxTokens
}
