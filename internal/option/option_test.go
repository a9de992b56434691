package option

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]uint64{
		"0": 0, "1": 1, " 4096": 4096, "1b": 1, "1B": 1, "1k": 1 << 10, "1K": 1 << 10, "2M": 2 << 20,
		"1.5G": 3 << 29, "1.5k": 1536, "1.k": 1024, "3T": 3 << 40, "1p": 1 << 50, "15E": 15 << 60,
		"0x10": 16, "0X1f": 31, "0x1k": 1024, "0xBE": 0xbe, "18446744073709551615": math.MaxUint64,
		"0.5M": 1 << 19, "010": 10, "0.0001k": 0,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": ErrSyntax, "x": ErrSyntax, "-1": ErrSyntax, "+1": ErrSyntax, "1x": ErrSyntax, "1kk": ErrSyntax, "1 k": ErrSyntax,
		"1.5": ErrSyntax, ".5k": ErrSyntax, "0x1.8G": ErrSyntax, "0x": ErrSyntax, "1e3": ErrSyntax, "k": ErrSyntax,
		"16E": ErrRange, "17179869184G": ErrRange, "99999999999999999999": ErrRange, "0x10000000000000000": ErrRange,
		"0x1000000000000000k": ErrRange, "15.99999999999999999E": ErrRange, "1_0": ErrSyntax,
	} {
		if got, err := ParseSize(in); err != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %v", in, got, err, want)
		}
	}
	if n, err := ParseSizeIn("128", 'M'); n != 128<<20 || err != nil {
		t.Errorf("128 in M: %d, %v", n, err)
	}
	if n, err := ParseSizeIn("0.5", 'G'); n != 1<<29 || err != nil {
		t.Errorf("0.5 in G: %d, %v", n, err)
	}
}

func TestParseIntegers(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "-1": -1, "+7": 7, " 5": 5, "0x10": 16, "-0x10": -16, "010": 8,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if got, err := ParseInt(in); err != nil || got != want {
			t.Errorf("ParseInt(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": ErrSyntax, "-": ErrSyntax, "--1": ErrSyntax, "1x": ErrSyntax, "0x": ErrSyntax, "08": ErrSyntax, "0b1": ErrSyntax,
		"1_0": ErrSyntax, "0x_1": ErrSyntax, "9223372036854775808": ErrRange,
	} {
		if got, err := ParseInt(in); err != want {
			t.Errorf("ParseInt(%q) = %d, %v, want %v", in, got, err, want)
		}
	}
	if n, err := ParseUint("-1"); n != math.MaxUint64 || err != nil {
		t.Errorf("ParseUint(-1) = %d, %v", n, err)
	}
	if _, err := ParseUint("18446744073709551616"); err != ErrRange {
		t.Errorf("ParseUint(2^64): %v", err)
	}
	if f, err := ParseFloat("1.5e3"); f != 1500 || err != nil {
		t.Errorf("ParseFloat(1.5e3) = %v, %v", f, err)
	}
	for _, in := range []string{"", "inf", "nan", "1_0", "x"} {
		if f, err := ParseFloat(in); err == nil {
			t.Errorf("ParseFloat(%q) = %v", in, f)
		}
	}
}

func TestParseBool(t *testing.T) {
	for _, in := range []string{"on", "yes", "true", "y"} {
		if b, err := ParseBool(in); !b || err != nil {
			t.Error(in, b, err)
		}
	}
	for _, in := range []string{"off", "no", "false", "n"} {
		if b, err := ParseBool(in); b || err != nil {
			t.Error(in, b, err)
		}
	}
	for _, in := range []string{"", "1", "0", "On", "maybe"} {
		if _, err := ParseBool(in); err == nil {
			t.Error(in, "was taken")
		}
	}
}

func TestParseList(t *testing.T) {
	for _, tt := range []struct{ in, implied, want string }{
		{"", "driver", "[]"},
		{"e1000", "driver", "[{driver e1000 false}]"},
		{"e1000,id=a,mac=x=y", "driver", "[{driver e1000 false} {id a false} {mac x=y false}]"},
		{"a,b", "", "[{a on true} {b on true}]"},
		{"server,nowait", "backend", "[{backend server false} {wait off true}]"},
		{"x=1,,2,y=,,,z=3", "", "[{x 1,2 false} {y , false} {z 3 false}]"},
		{"a,,b,c=1", "file", "[{file a,b false} {c 1 false}]"},
		{"a=1,a=2,", "", "[{a 1 false} {a 2 false}]"},
		{"=1", "x", "[{ 1 false}]"},
		{"none", "x", "[{x none false}]"},
	} {
		got := Parse(tt.in, tt.implied)
		if s := fmt.Sprint([]Item(got)); s != tt.want {
			t.Errorf("Parse(%q, %q) = %s, want %s", tt.in, tt.implied, s, tt.want)
		}
	}
	l := Parse("a=1,b=2,a=3,flag,nofoo", "")
	if v, ok := l.Get("a"); v != "3" || !ok {
		t.Errorf("the last a is %q", v)
	}
	if _, ok := l.Get("none"); ok {
		t.Error("found a key that is not there")
	}
	if s := l.Without("a", "foo").String(); s != "b=2,flag=on" {
		t.Error(s)
	}
	want := "[short-form boolean option 'flag' deprecated\nPlease use flag=on instead " +
		"short-form boolean option 'nofoo' deprecated\nPlease use foo=off instead]"
	if got := fmt.Sprint(l.Warnings()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if Parse("help", "driver").Help() || !Parse("x,help", "driver").Help() || !Parse("?", "").Help() || Parse("help=1", "").Help() {
		t.Error("Help")
	}
}

var rtc = &Schema{Name: "rtc", Keys: []Key{
	{Name: "base"}, {Name: "clock", Help: "what it follows", Default: "host"},
	{Name: "slots", Type: Number}, {Name: "lost", Type: Bool}, {Name: "size", Type: Size},
}}

func TestSchema(t *testing.T) {
	o, err := rtc.Parse("id=r0,base=utc,slots=0x10,lost=on,size=4k,slots=3")
	if err != nil {
		t.Fatal(err)
	}
	if o.ID != "r0" || o.Str("base") != "utc" || o.Str("clock") != "host" || o.Number("slots", 0) != 3 || !o.Bool("lost", false) ||
		o.Size("size", 0) != 4096 || !o.Has("lost") || o.Has("clock") || o.Has("id") {
		t.Errorf("%+v", o)
	}
	if n, err := o.Int("slots", 9); n != 3 || err != nil {
		t.Error(n, err)
	}
	if n, err := (&Opts{Schema: rtc}).Int("slots", 9); n != 9 || err != nil {
		t.Error(n, err)
	}
	for in, want := range map[string]string{
		"clok=host":       "Invalid parameter 'clok'; did you mean 'clock'?",
		"zzzzzz=1":        "Invalid parameter 'zzzzzz'",
		"=1":              "Invalid parameter ''",
		"lost=maybe":      "Parameter 'lost' expects 'on' or 'off'",
		"slots=x":         "Parameter 'slots' expects a number",
		"slots=1e":        "Parameter 'slots' expects a number",
		"slots=" + nines:  "Value '" + nines + "' is too large for parameter 'slots'",
		"size=16E":        "Value '16E' is out of range for parameter 'size'",
		"size=1x":         "Parameter 'size' expects a non-negative number below 2^64",
		"id=1a":           "Parameter 'id' expects an identifier",
		"base=utc,id=a b": "Parameter 'id' expects an identifier",
	} {
		_, err := rtc.Parse(in)
		if got, _, _ := strings.Cut(fmt.Sprint(err), "\n"); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if o, err := rtc.Parse("base=utc,nonsense=1,help"); err != nil || !o.Help {
		t.Error("help:", err)
	}
	any := &Schema{Name: "device", Implied: "driver", Any: true}
	if o, err := any.Parse("x,y=1"); err != nil || o.Str("driver") != "x" || o.Str("y") != "1" {
		t.Error(o, err)
	}
	want := "rtc options:\n  base=<str>\n  clock=<str>            - what it follows (default: host)\n" +
		"  lost=<bool (on/off)>\n  size=<size>\n  slots=<num>\n"
	if got := rtc.HelpText(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

const nines = "99999999999999999999999"

func TestNearest(t *testing.T) {
	words := []string{"machine", "kernel", "append", "initrd", "smp", "m", "name"}
	for in, want := range map[string]string{
		"machin": "machine", "mahcine": "machine", "kernal": "kernel", "apend": "append", "intird": "initrd",
		"spm": "smp", "zzz": "", "xyzzy": "", strings.Repeat("m", 100): "", "machine": "",
	} {
		if got := Nearest(in, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// The errors are those that QEMU 7.2 prints.
func TestKeyval(t *testing.T) {
	long := strings.Repeat("a", 128)
	for _, tt := range []struct{ in, implied, want string }{
		{"", "driver", `{}`},
		{"null-co,node-name=a", "driver", `{"driver": "null-co", "node-name": "a"}`},
		{"a.b=1,a.c.d=2,e=3", "", `{"a": {"b": "1", "c": {"d": "2"}}, "e": "3"}`},
		{"l.1=y,l.0=x,m.0.k=v", "", `{"l": ["x", "y"], "m": [{"k": "v"}]}`},
		{"a=1,a=2", "", `{"a": "2"}`},
		{"a=b,,c,d=,,", "", `{"a": "b,c", "d": ","}`},
		{"a,,b=1", "driver", `{"driver": "a,b=1"}`},
		{"a=1,", "", `{"a": "1"}`},
		{"a=1,help", "", `{"a": "1"} help`},
		{"help", "driver", `{} help`},
		{"?,x=1", "", `{"x": "1"} help`},
		{"a=help", "", `{"a": "help"}`},
		{`{"a": 1, "b": [true]}`, "driver", `{"a": 1, "b": [true]}`},

		{"driver=x,read-zeroes", "driver", "! Expected '=' after parameter 'read-zeroes'"},
		{"x", "", "! Expected '=' after parameter 'x'"},
		{",", "driver", "! Invalid parameter ''"},
		{"a=1,=1", "", "! Invalid parameter ''"},
		{"a..b=1", "", "! Invalid parameter 'a..b'"},
		{".b=1", "", "! Invalid parameter '.b'"},
		{"b.=1", "", "! Invalid parameter 'b.'"},
		{"1a=1", "", "! Invalid parameter '1a'"},
		{"0=1", "", "! Invalid parameter '0'"},
		{"$=1", "", "! Invalid parameter '$'"},
		{"x.-1=1", "", "! Invalid parameter 'x.-1'"},
		{"x.0=1,x.2=3", "", "! Parameter 'x.1' missing"},
		{"x.4294967296=1", "", "! Parameter 'x.0' missing"},
		{"y.x.1=1", "", "! Parameter 'y.x.0' missing"},
		{"x.0=1,x.a=3", "", "! Parameters 'x.*' used inconsistently"},
		{"x=1,x.a=3", "", "! Parameters 'x.*' used inconsistently"},
		{"x.a=3,x=1", "", "! Parameters 'x.*' used inconsistently"},
		{long + "=1", "", "! Parameter '" + long + "' is too long"},
		{strings.Repeat("a.", 64) + "a=1", "", "! Parameter '" + strings.Repeat("a.", 64) + "a' is too long"},
		{`{"a": 1`, "", "! JSON parse error, premature EOI"},
		{`{} x`, "", "! Expecting at most one JSON value"},
	} {
		kv, err := ParseValue(tt.in, tt.implied)
		var got string
		if err != nil {
			got = "! " + err.Error()
		} else {
			got = string(kv.Doc.Root().Append(nil))
			if kv.Help {
				got += " help"
			}
			if kv.JSON != strings.HasPrefix(tt.in, "{") {
				t.Errorf("%s: JSON is %v", tt.in, kv.JSON)
			}
		}
		if got != tt.want {
			t.Errorf("%.60s:\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
	// Many keys do not take long.
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, "l.%d=x,", i)
	}
	if kv, err := ParseKeyval(b.String(), ""); err != nil || kv.Doc.Root().Get("l").Len() != 20000 {
		t.Error("a long list:", err)
	}
	if _, err := ParseKeyval(strings.Repeat("a=1,", maxKeyTotal/4+1), ""); err == nil {
		t.Error("an option without end was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("virtio-net,id=a,mac=1:2,,3,nofoo,help", "driver")
	f.Add("a.b.0=1,a.b.1=2", "")
	f.Add(`{"a": 1}`, "x")
	f.Add("1.5G", "")
	f.Fuzz(func(t *testing.T, text, implied string) {
		list := Parse(text, "")
		for _, it := range list {
			if strings.ContainsAny(it.Key, "=,") {
				t.Fatalf("%q: key %q", text, it.Key)
			}
		}
		if again := Parse(list.String(), "").String(); again != list.String() {
			t.Fatalf("%q: %q read back as %q", text, list.String(), again)
		}
		Parse(text, implied).Warnings()
		_, _ = rtc.Check(list)
		if kv, err := ParseValue(text, implied); err == nil {
			kv.Doc.Release()
		} else if err.Error() == "" {
			t.Fatal("an error without text")
		}
		if n, err := ParseSize(text); err != nil && (n != 0 || !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrRange)) {
			t.Fatalf("ParseSize(%q) = %d, %v", text, n, err)
		}
		_, _ = ParseInt(text)
		_, _ = ParseUint(text)
		Nearest(text, []string{"machine", implied})
	})
}

func TestSizeText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1024: "1 KiB", 200704: "196 KiB", 16 << 20: "16 MiB", 1536 << 20: "1.5 GiB", 1 << 40: "1 TiB",
	} {
		if got := SizeText(n); got != want {
			t.Errorf("%d bytes are %s, want %s", n, got, want)
		}
	}
}
