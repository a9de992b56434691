package option

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "[] <nil>"},
		{"# nothing\n\n", "[] <nil>"},
		{"[machine]\n  type = \"pc\"\n  accel=\"kvm\" # if it is there\n", "[{machine  1 type=pc,accel=kvm}] <nil>"},
		{"[drive \"disk0\"]\nfile = \"a, b = c.img\"\n[memory]\r\n\tsize = \"1G\"\r\n", "[{drive disk0 1 file=a,, b = c.img} {memory  3 size=1G}] <nil>"},
		{"[name]\nguest = \"\"\n", "[{name  1 guest=}] <nil>"},
		{"a = \"b\"\n", "[] f:1: no group defined"},
		{"[name]\nguest = x\n", "[] f:2: parse error"},
		{"[name]\nguest = \"x\n", "[] f:2: parse error"},
		{"[name]\nguest = \"x\" y\n", "[] f:2: parse error"},
		{"[name]\nguest\n", "[] f:2: parse error"},
		{"[name]\n= \"x\"\n", "[] f:2: parse error"},
		{"[name\n", "[] f:1: parse error"},
		{"[]\n", "[] f:1: parse error"},
		{"[a b]\n", "[] f:1: parse error"},
		{"[a \"b]\n", "[] f:1: parse error"},
		{"[a \"\"]\n", "[] f:1: parse error"},
		{"[chardev \"a,b\"]\n", "[] f:1: Parameter 'id' expects an identifier\nIdentifiers consist of letters, digits, '-', '.', '_', starting with a letter."},
		{"[a]\n" + strings.Repeat("x", maxConfigLine+1), "[] f:2: the line is longer than 65536 bytes"},
	} {
		sections, err := ParseConfig("f", strings.NewReader(c.text))
		if got := fmt.Sprint(sections, err); got != c.want {
			t.Errorf("%.60q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// FuzzParseConfig holds that what a section says is read back as it was when it
// is written as an option.
func FuzzParseConfig(f *testing.F) {
	f.Add("[drive \"a\"]\n file = \"x,y\"\n")
	f.Add("[memory]\nsize = \"1G\" # all\n")
	f.Fuzz(func(t *testing.T, text string) {
		sections, err := ParseConfig("f", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range sections {
			if s.Group == "" || s.Line < 1 {
				t.Errorf("section %+v", s)
			}
			if back := Parse(s.List.String(), ""); back.String() != s.List.String() {
				t.Errorf("%v is read back as %v", s.List, back)
			}
		}
	})
}
