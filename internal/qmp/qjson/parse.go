package qjson

import (
	"math"
	"strconv"
)

// expect is what the grammar allows next.
type expect uint8

const (
	wantValue       expect = iota // the message's own value
	wantFirstKey                  // a key or }
	wantKey                       //
	wantColon                     //
	wantMember                    // a member's value
	wantMemberSep                 // , or }
	wantFirstElem                 // a value or ]
	wantElem                      //
	wantElemSep                   // , or ]
	wantNothingMore               // the message is complete
)

// token takes the next token of a message. A message ends when no brace and no
// bracket is open, or when one too many is closed; only then is a grammatical
// error reported, so that one bad message is one error.
func (r *Reader) token(t token) (*Doc, error) {
	switch t {
	case tokBeginObject:
		r.braces++
	case tokEndObject:
		r.braces--
	case tokBeginArray:
		r.squares++
	case tokEndArray:
		r.squares--
	}
	r.size += len(r.tok)
	r.tokens++
	if limit := r.overLimit(); limit != "" {
		r.drop()
		return nil, &SyntaxError{limit}
	}
	if r.err == nil {
		if text := r.accept(t); text != "" {
			r.err = &SyntaxError{"JSON parse error, " + text}
			r.b.abandon()
		}
	}
	if r.braces >= 0 && r.squares >= 0 && (r.braces > 0 || r.squares > 0) {
		return nil, nil
	}
	err := r.err
	r.restart()
	if cap(r.tok) > keepText {
		r.tok = nil
	}
	if err != nil {
		return nil, err
	}
	return r.b.Finish(), nil
}

func (r *Reader) overLimit() string {
	switch {
	case r.braces+r.squares > MaxDepth:
		return "JSON nesting depth limit exceeded"
	case r.size > r.maxSize():
		return "JSON token size limit exceeded"
	case r.tokens > r.maxTokens():
		return "JSON token count limit exceeded"
	}
	return ""
}

// accept does what the grammar says about a token; it returns what is wrong
// with it, or "".
func (r *Reader) accept(t token) string {
	switch r.want {
	case wantFirstKey, wantKey:
		if t == tokEndObject && r.want == wantFirstKey {
			return r.end()
		}
		return r.memberKey(t)
	case wantColon:
		if t != tokColon {
			return "missing : in object pair"
		}
		r.want = wantMember
		return ""
	case wantMemberSep:
		switch t {
		case tokComma:
			r.want = wantKey
		case tokEndObject:
			if r.b.duplicates() {
				return "duplicate key"
			}
			return r.end()
		default:
			return "expected separator in dict"
		}
		return ""
	case wantElemSep:
		switch t {
		case tokComma:
			r.want = wantElem
		case tokEndArray:
			return r.end()
		default:
			return "expected separator in list"
		}
		return ""
	case wantFirstElem:
		if t == tokEndArray {
			return r.end()
		}
	}
	return r.value(t)
}

func (r *Reader) memberKey(t token) string {
	switch t {
	case tokString:
		off := len(r.b.doc.text)
		if text := r.unquote(); text != "" {
			return text
		}
		r.b.key = span{uint32(off), uint32(len(r.b.doc.text) - off)}
		r.want = wantColon
		return ""
	case tokKeyword:
		if !keyword(r.tok) {
			return invalidKeyword(r.tok)
		}
		fallthrough
	case tokNumber, tokBeginObject, tokBeginArray:
		return "key is not a string in object"
	}
	return "expecting value"
}

func (r *Reader) value(t token) string {
	switch t {
	case tokBeginObject:
		r.b.Begin(Object)
		r.want = wantFirstKey
		return ""
	case tokBeginArray:
		r.b.Begin(Array)
		r.want = wantFirstElem
		return ""
	case tokString:
		d := r.b.begin()
		off := len(d.text)
		if text := r.unquote(); text != "" {
			return text
		}
		r.b.add(String, uint64(off)<<32|uint64(len(d.text)-off))
	case tokNumber:
		r.number()
	case tokKeyword:
		switch string(r.tok) {
		case "null":
			r.b.Null()
		case "true":
			r.b.Bool(true)
		case "false":
			r.b.Bool(false)
		default:
			return invalidKeyword(r.tok)
		}
	default:
		return "expecting value"
	}
	return r.after()
}

// end closes a container.
func (r *Reader) end() string {
	r.b.End()
	return r.after()
}

// after chooses what may follow a complete value.
func (r *Reader) after() string {
	if len(r.b.stack) == 0 {
		r.want = wantNothingMore
		return ""
	}
	top := r.b.stack[len(r.b.stack)-1]
	if r.b.doc.nodes[top.node].kind == Array {
		r.want = wantElemSep
		return ""
	}
	r.want = wantMemberSep
	if r.b.duplicate() {
		return "duplicate key"
	}
	return ""
}

// number adds the number token. An integer out of the range of uint64 (of
// int64, when negative) becomes a floating-point number.
func (r *Reader) number() {
	digits, neg := r.tok, false
	if digits[0] == '-' {
		digits, neg = digits[1:], true
	}
	var n uint64
	for _, c := range digits {
		d := uint64(c - '0')
		if c < '0' || c > '9' || n > (math.MaxUint64-d)/10 {
			r.float()
			return
		}
		n = n*10 + d
	}
	switch {
	case !neg:
		r.b.Uint(n)
	case n <= 1<<63:
		r.b.Int(-int64(n))
	default:
		r.float()
	}
}

func (r *Reader) float() {
	f, _ := strconv.ParseFloat(string(r.tok), 64) // out of range is an infinity
	r.b.Float(f)
}

func keyword(tok []byte) bool {
	switch string(tok) {
	case "null", "true", "false":
		return true
	}
	return false
}

func invalidKeyword(tok []byte) string {
	if len(tok) > maxQuoted {
		tok = tok[:maxQuoted]
	}
	return "invalid keyword '" + string(tok) + "'"
}

// Parse reads exactly one value.
func Parse(text []byte) (*Doc, error) {
	var r Reader
	var doc *Doc
	for rest := append(append(make([]byte, 0, len(text)+1), text...), '\n'); len(rest) > 0; {
		n, d, err := r.Scan(rest)
		rest = rest[n:]
		switch {
		case doc != nil && (d != nil || err != nil):
			return nil, &SyntaxError{"Expecting at most one JSON value"}
		case err != nil:
			return nil, err
		case d != nil:
			doc = d
		}
	}
	unfinished := r.tokens > 0 || r.state != lexStart
	switch {
	case unfinished && doc != nil:
		return nil, &SyntaxError{"Expecting at most one JSON value"}
	case unfinished:
		return nil, &SyntaxError{"JSON parse error, premature EOI"}
	case doc == nil:
		return nil, &SyntaxError{"Expecting a JSON value"}
	}
	return doc, nil
}
