package human

import (
	"bytes"
	"slices"
)

// prompt is what programs that drive the monitor wait for.
const prompt = "(qemu) "

// editor is a line that is being typed on a terminal. What it has to send comes
// into out; the screen is kept up to date with cursor movements of a single
// column and with "erase to the end of the line", which every terminal knows.
type editor struct {
	line []byte
	pos  int // of the cursor in line

	shown []byte // what the terminal shows of line
	at    int    // where its cursor is
	out   []byte

	escape   escape
	param    int
	history  *history
	complete func(line string) []string // what the last word of line can become
}

// escape says how far an escape sequence has come.
type escape uint8

const (
	plain  escape = iota
	begun         // ESC
	csi           // ESC [
	csiEnd        // its final byte is waited for, whatever it is
	ss3           // ESC O
)

// Keys that are not printable.
const (
	ctrlA = 1 + iota
	ctrlB
	ctrlC
	ctrlD
	ctrlE
	ctrlF
	_
	backspace
	tab
	lineFeed
	ctrlK
	ctrlL
	enter
	ctrlN
	_
	ctrlP
	ctrlU     = 'U' - '@'
	ctrlW     = 'W' - '@'
	escapeKey = 27
	deleteKey = 127
	csiKey    = 0x9b
)

// key takes one byte. It reports true when that has ended the line.
func (e *editor) key(c byte) (line string, done bool) {
	switch e.escape {
	case plain:
		if c == enter || c == lineFeed {
			return e.enter(), true
		}
		e.plain(c)
	case begun:
		e.escape = plain
		switch c {
		case '[':
			e.escape, e.param = csi, 0
		case 'O':
			e.escape, e.param = ss3, 0
		}
	default:
		e.sequence(c)
	}
	e.refresh()
	return "", false
}

// plain takes a byte that is not part of an escape sequence.
func (e *editor) plain(c byte) {
	switch c {
	case ctrlA:
		e.pos = 0
	case ctrlB:
		e.left()
	case ctrlC:
		if len(e.line) > 0 {
			e.out = append(e.out, "^C\r\n"...)
			e.restart()
		}
	case ctrlD:
		e.deleteAfter()
	case ctrlE:
		e.pos = len(e.line)
	case ctrlF:
		e.right()
	case tab:
		e.tab()
	case ctrlK:
		e.line = e.line[:e.pos]
	case ctrlL:
		e.out = append(e.out, "\x1b[2J\x1b[1;1H"...)
		e.prompt()
	case ctrlN:
		e.recall(e.history.newer())
	case ctrlP:
		e.recall(e.history.older())
	case ctrlU:
		e.remove(0, e.pos)
	case ctrlW:
		e.deleteWord()
	case escapeKey:
		e.escape = begun
	case csiKey:
		e.escape, e.param = csi, 0
	case backspace, deleteKey:
		if e.pos > 0 {
			e.remove(e.pos-1, e.pos)
		}
	default:
		if c >= ' ' {
			e.insert([]byte{c})
		}
	}
}

// sequence takes a byte of a sequence after its introducer.
func (e *editor) sequence(c byte) {
	switch {
	case c >= '0' && c <= '9' && e.escape == csi:
		e.param = min(e.param*10+int(c-'0'), 1000)
		return
	case c == ';' && e.escape != ss3:
		e.escape = csiEnd // what modifies a key does not matter
		return
	case c < '@' && e.escape != ss3:
		return
	}
	e.escape = plain
	switch c {
	case 'A':
		e.recall(e.history.older())
	case 'B':
		e.recall(e.history.newer())
	case 'C':
		e.right()
	case 'D':
		e.left()
	case 'F':
		e.pos = len(e.line)
	case 'H':
		e.pos = 0
	case '~':
		switch e.param {
		case 1, 7:
			e.pos = 0
		case 3:
			e.deleteAfter()
		case 4, 8:
			e.pos = len(e.line)
		}
	}
}

func (e *editor) left()  { e.pos = max(e.pos-1, 0) }
func (e *editor) right() { e.pos = min(e.pos+1, len(e.line)) }

func (e *editor) insert(p []byte) {
	if len(e.line)+len(p) <= maxLine {
		e.line = slices.Insert(e.line, e.pos, p...)
		e.pos += len(p)
	}
}

func (e *editor) remove(from, to int) {
	e.line = slices.Delete(e.line, from, to)
	e.pos = from
}

func (e *editor) deleteAfter() {
	if e.pos < len(e.line) {
		e.remove(e.pos, e.pos+1)
	}
}

// deleteWord removes the word before the cursor.
func (e *editor) deleteWord() {
	from := e.pos
	for from > 0 && isSpace(e.line[from-1]) {
		from--
	}
	for from > 0 && !isSpace(e.line[from-1]) {
		from--
	}
	e.remove(from, e.pos)
}

// recall shows a line of the history.
func (e *editor) recall(line string, ok bool) {
	if ok {
		e.line = append(e.line[:0], line...)
		e.pos = len(e.line)
	}
}

// enter ends the line.
func (e *editor) enter() string {
	line := string(e.line)
	e.history.add(line)
	e.out = append(e.out, "\r\n"...)
	e.forget()
	return line
}

// forget begins a new line, of which nothing is shown.
func (e *editor) forget() {
	e.line, e.shown = e.line[:0], e.shown[:0]
	e.pos, e.at = 0, 0
	e.escape = plain
}

// restart begins a new line with a prompt.
func (e *editor) restart() {
	e.forget()
	e.history.at = len(e.history.lines)
	e.prompt()
}

// prompt writes the prompt; the line is shown after it at the next refresh.
func (e *editor) prompt() {
	e.out = append(e.out, prompt...)
	e.shown, e.at = e.shown[:0], 0
}

// refresh brings the terminal up to date.
func (e *editor) refresh() {
	if !bytes.Equal(e.line, e.shown) {
		e.move("\x1b[D", e.at)
		e.out = append(e.out, e.line...)
		e.out = append(e.out, "\x1b[K"...)
		e.shown = append(e.shown[:0], e.line...)
		e.at = len(e.line)
	}
	e.move("\x1b[C", e.pos-e.at)
	e.move("\x1b[D", e.at-e.pos)
	e.at = e.pos
}

func (e *editor) move(how string, n int) {
	for range n {
		e.out = append(e.out, how...)
	}
}

// tab completes the last word of what is before the cursor.
func (e *editor) tab() {
	if e.complete == nil {
		return
	}
	line := string(e.line[:e.pos])
	word := lastWord(line)
	found := candidates(e.complete(line), word)
	if len(found) == 0 {
		return
	}
	e.insert([]byte(common(found)[len(word):]))
	if len(found) > 1 {
		e.out = append(e.out, "\r\n"...)
		e.out = append(e.out, columns(found)...)
		e.prompt()
		return
	}
	if f := found[0]; f[len(f)-1] != '/' {
		e.insert([]byte{' '})
	}
}
