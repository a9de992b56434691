package human

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"govmd/internal/qmp"
)

func registers(name string) (int64, error) {
	if name == "eip" {
		return 0xfff0, nil
	}
	return 0, fmt.Errorf("unknown register")
}

// The values and the words are QEMU's.
func TestExpressions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"1", "1"}, {"0x1F", "31"}, {"010", "8"}, {" 7 / 2 * 3", "9"}, {"1|2&3^4", "7"}, {"10-3-2", "5"},
		{"1+2*3", "7"}, {"1+2&3", "3"}, {"((1+2)*3)", "9"}, {"- - 1", "1"}, {"+1", "1"}, {"-1", "-1"}, {"~1", "-2"},
		{"'a'", "97"}, {"'a' + 1", "98"}, {"$eip+1", "65521"}, {"0xffffffffffffffff", "-1"}, {"5 % 3", "2"},
		{"-0x8000000000000000 / -1", "-9223372036854775808"}, {"-0x8000000000000000 % -1", "0"},
		{"", "unexpected end of expression"}, {"1+", "unexpected end of expression"}, {"1/0", "division by zero"},
		{"1%0", "division by zero"}, {"(1", "')' expected"}, {"$foo", "unknown register"}, {"$ cs", "unknown register"},
		{"'a", "missing terminating ' character"}, {"'", "character constant expected"}, {"''", "missing terminating ' character"},
		{"!1", "invalid char '!' in expression"}, {"x", "invalid char 'x' in expression"},
		{"99999999999999999999", "number too large"},
		{strings.Repeat("(", 4000), "expression is nested too deeply"},
		{strings.Repeat("-", 4000) + "1", "expression is nested too deeply"},
	} {
		tx := &text{s: c.text, register: registers}
		v, err := tx.expr()
		got := fmt.Sprint(v)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%.40q is %s, want %s", c.text, got, c.want)
		}
	}
}

// What is missing, malformed or too much is refused in QEMU's words.
func TestArguments(t *testing.T) {
	for _, c := range []struct{ args, line, want string }{
		{"a:s", "x", "map[a:x]"}, {"a:s", `"x\ny \"\\"`, "map[a:x\ny \"\\]"}, {"a:s", "", "c: string expected"},
		{"a:F", "", "c: filename expected"}, {"a:B", "", "c: block device name expected"},
		{"a:s", `"x`, "unterminated string\nc: string expected"},
		{"a:s", `"x\q"`, "unsupported escape code: '\\q'\nc: string expected"},
		{"a:s?", "", "map[]"}, {"a:s", "x y", "c: extraneous characters at the end of line"},
		{"a:S", "x  y", "map[a:x  y]"}, {"a:S", "", "c: string expected"}, {"a:S?", "", "map[]"},
		{"a:O", "", "map[a:]"}, {"a:O", "x,y=1", "map[a:x,y=1]"},
		{"a:l", "-1", "map[a:-1]"}, {"a:i", "-1", "'c' has failed: integer is for 32-bit values"},
		{"a:i", "0x100000000", "'c' has failed: integer is for 32-bit values"}, {"a:i", "0xffffffff", "map[a:4294967295]"},
		{"a:M", "5", "map[a:5242880]"}, {"a:M", "-5", "enter a positive value"}, {"a:M", "5M ", "c: extraneous characters at the end of line"},
		{"a:o", "5", "map[a:5242880]"}, {"a:o", "5k", "map[a:5120]"}, {"a:o", "1.5", "map[a:1572864]"}, {"a:o", "", "invalid size"},
		{"a:o", "-5", "invalid size"}, {"a:o", "5Q", "c: extraneous characters at the end of line"},
		{"a:T", "1.5", "map[a:1.5]"}, {"a:T", "5ms", "map[a:0.005]"}, {"a:T", "5us", "map[a:5e-06]"}, {"a:T", "5h", "Unknown unit suffix"},
		{"a:T", "x", "Number expected"},
		{"a:b", "on", "map[a:true]"}, {"a:b", "off", "map[a:false]"}, {"a:b", "maybe", "Expected 'on' or 'off'"}, {"a:b", "", "Expected 'on' or 'off'"},
		{"f:-f,a:s", "-f x", "map[a:x f:true]"}, {"f:-f,a:s", "x", "map[a:x]"}, {"f:-f,a:s", "-g x", "c: unsupported option -g"},
		{"f:-f,g:-g,a:s", "-g x", "map[a:x g:true]"}, {"f:-f,a:s", "-ff x", "c: extraneous characters at the end of line"},
		{"f:-fs,a:s", "-f png x", "map[a:x f:png]"}, {"f:-fs,a:s", "-f", "c: value expected for -f"},
		{"f:/,a:l", "/4xg 5", "map[a:5 count:4 format:120 size:8]"}, {"f:/,a:l", "5", "map[a:5 count:1 format:120 size:4]"},
		{"f:/,a:l", "/i 5", "map[a:5 count:1 format:105 size:-1]"}, {"f:/,a:l", "/q", "invalid char in format: 'q'"},
		{"f:/,a:l", "/x4 5", "invalid char in format: '4'"}, {"f:/,a:l", "/99999999999999999999x 5", "number too large"},
		{"a:i?,b:i?", "1", "map[a:1]"}, {"", "x", "c: extraneous characters at the end of line"}, {"", "  ", "map[]"},
	} {
		var out strings.Builder
		tx := &text{s: c.line, register: registers}
		args, err := tx.arguments(&qmp.HumanCommand{Name: "c", Args: c.args}, &lastFormat{}, &out)
		got := fmt.Sprint(map[string]any(args))
		if err != nil {
			got = out.String() + err.Error()
		}
		if got != c.want {
			t.Errorf("%s of %q brings %s, want %s", c.args, c.line, got, c.want)
		}
	}
}

// A format is remembered, as in QEMU.
func TestFormatIsRemembered(t *testing.T) {
	last := &lastFormat{}
	read := func(line string) qmp.HumanFormat {
		tx := &text{s: line}
		args, err := tx.arguments(&qmp.HumanCommand{Args: "f:/,a:l"}, last, &strings.Builder{})
		if err != nil {
			t.Fatal(err)
		}
		return args.Format()
	}
	read("/2db 5")
	if got := read("5"); got != (qmp.HumanFormat{Count: 1, Letter: 'd', Size: 1}) {
		t.Error(got)
	}
	read("/i 5")
	if got := read("5"); got.Letter != 'i' || got.Size != -1 {
		t.Error(got)
	}
	if got := read("/x 5"); got.Size != 1 {
		t.Error(got)
	}
}

func FuzzArguments(f *testing.F) {
	for _, line := range []string{`"a\n" 1+2 /4xw -f on 5M`, "((1)*2)/-1 $eip 'a'", "/4i 0", "5ms", "-", "\xff\x00"} {
		f.Add(line)
	}
	letters := "sBFSOliMoTb/"
	f.Fuzz(func(t *testing.T, line string) {
		line = clean(line)
		for _, l := range letters {
			spec := "f:-f,g:-gs,a:" + string(l) + ",b:s?"
			tx := &text{s: line, register: registers}
			args, err := tx.arguments(&qmp.HumanCommand{Name: "c", Args: spec}, &lastFormat{}, &strings.Builder{})
			if (args == nil) == (err == nil) || tx.pos > len(line) {
				t.Fatalf("%q of %q: %v, %v, at %d", l, line, args, err, tx.pos)
			}
		}
	})
}

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"": nil, " a  b ": {"a", "b"}, `a "b c" d`: {"a", "b c", "d"}, `a "b`: {"a"},
	} {
		if got := words(line); !reflect.DeepEqual(got, want) {
			t.Errorf("%q has %q", line, got)
		}
	}
	if n := len(words(strings.Repeat("x ", 1000))); n != maxWords {
		t.Error(n)
	}
}
