package qjson

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// read feeds text to a fresh reader in pieces of the given size and returns
// what came out, one line for each value or error.
func read(text string, piece int) []string {
	var r Reader
	var out []string
	for len(text) > 0 {
		p := []byte(text[:min(piece, len(text))])
		text = text[len(p):]
		for len(p) > 0 {
			n, doc, err := r.Scan(p)
			p = p[n:]
			if err != nil {
				out = append(out, "! "+err.Error())
			}
			if doc != nil {
				out = append(out, string(doc.Root().Append(nil)))
				doc.Release()
			}
		}
	}
	return out
}

// The expected lines are what QEMU 7.2 answers, less the prefix of parse errors.
var streams = []struct {
	in   string
	want []string
}{
	{`{"a":[1,-2,2.5,null,true,false,"x",{}]}`, []string{`{"a": [1, -2, 2.5, null, true, false, "x", {}]}`}},
	{`{'a':'b"c','d':"e'f"}`, []string{`{"a": "b\"c", "d": "e'f"}`}},
	{`[1.0,1e10,0.1,1e300,-0,-0.0,18446744073709551615,9223372036854775808,-9223372036854775808]`,
		[]string{`[1, 10000000000, 0.10000000000000001, 1.0000000000000001e+300, 0, -0, 18446744073709551615, 9223372036854775808, -9223372036854775808]`}},
	{`[123456789012345678901234567890,-9223372036854775809,1E5,100.25,1e-7]`,
		[]string{`[1.2345678901234568e+29, -9.2233720368547758e+18, 100000, 100.25, 9.9999999999999995e-08]`}},
	{`"\u00e9\ud83d\ude00\u0001\u007f\"\\\/\b\f\n\r\t<>&'"`, []string{`"\u00E9\uD83D\uDE00\u0001\u007F\"\\/\b\f\n\r\t<>&'"`}},
	{"\"é😀\x7f\"", []string{`"\u00E9\uD83D\uDE00\u007F"`}},
	{`"\u0000"` + "\"\xc0\x80\"", []string{`"\u0000"`, `"\u0000"`}},
	{`{"a":1}{"b":2} [3]`, []string{`{"a": 1}`, `{"b": 2}`, `[3]`}},
	{"1 null\n", []string{"1", "null"}},

	{"}", []string{"! expecting value"}},
	{"{\n]}\n", []string{"! expecting value", "! expecting value"}},
	{"[\n}]\n", []string{"! expecting value", "! expecting value"}},
	{`{'execute':}`, []string{"! expecting value"}},
	{`{"execute" "x"}`, []string{"! missing : in object pair"}},
	{`{"a":1,}`, []string{"! expecting value"}},
	{`{,}`, []string{"! expecting value"}},
	{`[1,]`, []string{"! expecting value"}},
	{`[,]`, []string{"! expecting value"}},
	{`{"a":1 "b":2}`, []string{"! expected separator in dict"}},
	{`[1 2]`, []string{"! expected separator in list"}},
	{`[1}`, []string{"! expected separator in list"}},
	{`{1:2}`, []string{"! key is not a string in object"}},
	{`{null:2}`, []string{"! key is not a string in object"}},
	{`{nope:2}`, []string{"! invalid keyword 'nope'"}},
	{`{"a":1,"a":2}`, []string{"! duplicate key"}},
	{`{"a":{"b": tru }}`, []string{"! invalid keyword 'tru'"}},
	{"nulll\n", []string{"! invalid keyword 'nulll'"}},
	{"True\n", []string{"! stray 'T'"}},
	{`"\x"`, []string{"! invalid escape sequence in string"}},
	{`"\u12"`, []string{`! \u12" is not a valid Unicode character`}},
	{`"\ub"`, []string{`! \ub" is not a valid Unicode character`}},
	{`"\u00g0"`, []string{`! \u00g0 is not a valid Unicode character`}},
	{`"\ud800"`, []string{`! \ud800 is not a valid Unicode character`}},
	{`"\udc00"`, []string{`! \udc00 is not a valid Unicode character`}},
	{`"\uD83Dx"`, []string{`! \uD83D is not a valid Unicode character`}},
	{`"\ud800\ud800"`, []string{`! \ud800 is not a valid Unicode character`}},
	{`"\ufffe"`, []string{`! \ufffe is not a valid Unicode character`}},
	{"\"\xed\xa0\x80\"", []string{"! invalid UTF-8 sequence in string"}},
	{"\"\xf4\x90\x80\x80\"", []string{"! invalid UTF-8 sequence in string"}},
	{"\"\xef\xbf\xbf\"", []string{"! invalid UTF-8 sequence in string"}},
	{"\"\xe2\x82\"", []string{"! invalid UTF-8 sequence in string"}},
	{"\"\xc0\xaf\"", []string{"! invalid UTF-8 sequence in string"}},
	{"\"a\tb\"\n", []string{"! stray '\"a\t'"}},
	{"\"a\x00b\"\n", []string{`! stray '"a'`}},
	{"\"a\xffb\"\n", []string{"! stray '\"a\xff'"}},
	{"\"\\\n", []string{"! stray '\"\\\n'"}},
	{"01\n", []string{"! stray '01'"}},
	{"-\n", []string{"! stray '-\n'"}},
	{"- 1\n", []string{"! stray '- '"}},
	{"1.\n", []string{"! stray '1.\n'"}},
	{"1e\n", []string{"! stray '1e\n'"}},
	{".5\n", []string{"! stray '.'"}},
	{"+1\n", []string{"! stray '+'"}},
	{"0x10\n", []string{"0", "! invalid keyword 'x'", "10"}},
	{"%d\n", []string{"! stray '%'"}},
	{"\x00", []string{"! stray ''"}},

	// What is skipped after an error, and where reading goes on.
	{"@ 1 true \"x\" \t 2\n3\n", []string{"! stray '@'", "3"}},
	{`{"a":@ {"b":1}`, []string{"! stray '@'", `{"b": 1}`}},
	{`{"a": %d}` + "\n{}", []string{"! stray '%'", "! expecting value", "{}"}},
	{"\"abc\n\"\n{}", []string{"! stray '\"abc\n'", "{}"}},
	{"#\xff{}", []string{"! stray '#'", "! stray '\xff'", "{}"}},
	{"{]{}", []string{"! expecting value", "{}"}},
	{"{\"a\":[}{\"b\":1}", nil}, // a bracket is still open: the message goes on
}

func TestStream(t *testing.T) {
	for _, tt := range streams {
		for _, piece := range []int{1, 2, 3, 1000} {
			got := read(tt.in, piece)
			for i := range got {
				got[i] = strings.Replace(got[i], "JSON parse error, ", "", 1)
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("%q in pieces of %d:\n got %q\nwant %q", tt.in, piece, got, tt.want)
			}
		}
	}
}

func TestDepthLimit(t *testing.T) {
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	if got := read(deep, 100); len(got) != 1 || strings.HasPrefix(got[0], "!") {
		t.Errorf("%d levels: %.100q", MaxDepth, got)
	}
	got := read("["+deep+"]{}", 100)
	if got[0] != "! JSON nesting depth limit exceeded" || got[len(got)-1] != "{}" {
		t.Errorf("%d levels: %.200q", MaxDepth+1, got)
	}
}

func TestSizeLimits(t *testing.T) {
	long := strings.Repeat("a", 100)
	for _, tt := range []struct{ in, want string }{
		{`["` + long + `"]`, "! JSON token size limit exceeded"},
		{`[` + long + `]`, "! JSON token size limit exceeded"},
		{`[` + strings.Repeat("1", 100) + `]`, "! JSON token size limit exceeded"},
		{`["` + long[:40] + `","` + long[:40] + `"]`, "! JSON token size limit exceeded"},
		{`[` + strings.Repeat("1,", 30) + `1]`, "! JSON token count limit exceeded"},
	} {
		r := Reader{MaxSize: 80, MaxTokens: 50}
		var first error
		for p := []byte(tt.in); len(p) > 0 && first == nil; {
			n, _, err := r.Scan(p)
			p, first = p[n:], err
		}
		if first == nil || "! "+first.Error() != tt.want {
			t.Errorf("%.40s: got %v, want %s", tt.in, first, tt.want)
		}
		_, doc, err := r.Scan([]byte("\n]{}"))
		if doc != nil || err == nil {
			t.Errorf("%.40s: the message was not dropped", tt.in)
		}
	}
}

func TestDuplicateInLargeObject(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `"k%d": %d, `, i, i)
	}
	if _, err := Parse([]byte("{" + b.String() + `"k1000": 0}`)); err != nil {
		t.Error(err)
	}
	if _, err := Parse([]byte("{" + b.String() + `"k500": 0}`)); err == nil {
		t.Error("a duplicate key was accepted")
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"":             "Expecting a JSON value",
		"  ":           "Expecting a JSON value",
		`{"a":1`:       "JSON parse error, premature EOI",
		`{"a":1} x`:    "Expecting at most one JSON value",
		`{"a":1} {`:    "Expecting at most one JSON value",
		`{"a":1} {}`:   "Expecting at most one JSON value",
		`{"a":1}}`:     "Expecting at most one JSON value",
		`"abc`:         "JSON parse error, stray '\"abc\n'",
		`{"a":1} `:     "",
		"7":            "",
		`{"a":{"b":2}`: "JSON parse error, premature EOI",
	} {
		doc, err := Parse([]byte(in))
		var syntax *SyntaxError
		if want == "" && err == nil && doc.Root().Exists() {
			continue
		}
		if !errors.As(err, &syntax) || syntax.Text != want {
			t.Errorf("Parse(%q) = %v, want %q", in, err, want)
		}
	}
}

func TestValue(t *testing.T) {
	doc, err := Parse([]byte(`{"i":-3,"u":18446744073709551615,"f":1.5,"s":"str","b":true,"n":null,"a":[1,2,3]}`))
	if err != nil {
		t.Fatal(err)
	}
	v := doc.Root()
	if n, ok := v.Get("i").Int(); n != -3 || !ok {
		t.Error("i:", n, ok)
	}
	if n, ok := v.Get("u").Uint(); n != math.MaxUint64 || !ok {
		t.Error("u:", n, ok)
	}
	if _, ok := v.Get("i").Uint(); ok {
		t.Error("a negative integer as unsigned")
	}
	if _, ok := v.Get("u").Int(); ok {
		t.Error("a large integer as signed")
	}
	if f, ok := v.Get("f").Float(); f != 1.5 || !ok {
		t.Error("f:", f, ok)
	}
	if s := v.Get("s").Text(); s != "str" {
		t.Error("s:", s)
	}
	if !v.Get("b").Bool() || v.Get("n").Kind() != Null || v.Get("a").Len() != 3 || v.Len() != 7 {
		t.Error("b, n or a")
	}
	if v.Get("none").Exists() || v.Get("s").Get("x").Exists() || v.Get("a").Get("x").Exists() {
		t.Error("found a member that is not there")
	}
	var zero Value
	if zero.Kind() != Invalid || zero.First().Exists() || zero.Next().Exists() || zero.Key() != nil || zero.Len() != 0 {
		t.Error("the zero Value is not absent")
	}
}

func TestAppendFloat(t *testing.T) {
	for f, want := range map[float64]string{
		math.Inf(1): "1e+999", math.Inf(-1): "-1e+999", math.NaN(): "null",
		1e16: "10000000000000000", 1e17: "1e+17", 1e-4: "0.0001", 1e-5: "1.0000000000000001e-05",
		123456: "123456", 0.5: "0.5",
	} {
		if got := string(AppendFloat(nil, f)); got != want {
			t.Errorf("%v: got %s, want %s", f, got, want)
		}
	}
}

func TestPretty(t *testing.T) {
	doc, err := Parse([]byte(`{"return":{},"id":[1,{},[],{"a, [":[{}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
    "return": {
    },
    "id": [
        1,
        {
        },
        [
        ],
        {
            "a, [": [
                {
                }
            ]
        }
    ]
}`
	if got := string(AppendPretty(nil, doc.Root().Append(nil))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzStream(f *testing.F) {
	for _, tt := range streams {
		f.Add(tt.in, byte(3))
	}
	f.Fuzz(func(t *testing.T, in string, piece byte) {
		whole := read(in, len(in)+1)
		split := read(in, int(piece%16)+1)
		if fmt.Sprint(whole) != fmt.Sprint(split) {
			t.Fatalf("whole: %q\nsplit: %q", whole, split)
		}
		for _, line := range whole {
			if strings.HasPrefix(line, "! ") {
				continue
			}
			// What was written reads back as the same value.
			doc, err := Parse([]byte(line))
			if err != nil {
				t.Fatalf("%s does not read back: %v", line, err)
			}
			again := string(doc.Root().Append(nil))
			if again != line && again != strings.ReplaceAll(line, "-0", "0") { // -0.0 is written as -0
				t.Fatalf("%s read back as %s", line, again)
			}
			if pretty := AppendPretty(nil, []byte(line)); len(pretty) < len(line)-strings.Count(line, " ") {
				t.Fatalf("%s pretty-printed as %s", line, pretty)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	var r Reader
	msg := []byte(`{"execute":"query-status"}` + "\n")
	b.ReportAllocs()
	for b.Loop() {
		_, doc, _ := r.Scan(msg)
		doc.Release()
		r.Scan(msg[len(msg)-1:])
	}
}
