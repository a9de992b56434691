package glob

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "x", false}, {"*", "", true}, {"*", "anything", true}, {"?", "", false}, {"?", "é", true},
		{"a*b*c", "aXbYc", true}, {"a*b*c", "aXbY", false}, {"*.example", "x.example", true}, {"*.example", "x.examples", false},
		{"**a", "ba", true}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{strings.Repeat("*a", 50), strings.Repeat("a", 2000) + "b", false},
		{"", "a", false}, {"*", "a_b", true}, {"a*", "ba", false},
		{"a*b*c", "a_b_b_c", true}, {"a*b*c", "a_b_b_d", false}, {"?_b", "a_b", true},
		{"a_b", "a_b", true}, {"a_b", "a_bc", false}, {"*c", "a_b", false}, {"**b", "a_b", true}, {"a_b**", "a_b", true},
		{strings.Repeat("a*", 50) + "b", strings.Repeat("a", 200), false},
	} {
		if got := Match(c.pattern, c.text); got != c.want {
			t.Errorf("%q matches %.20q: %v", c.pattern, c.text, got)
		}
	}
}
