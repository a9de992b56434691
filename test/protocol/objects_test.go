package protocol

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// answer asks for a command and returns the answer, without what tells one run
// from another.
func (s *session) answer(command, args string) map[string]any {
	s.t.Helper()
	request := `{"execute": "` + command + `"`
	if args != "" {
		request += `, "arguments": ` + args
	}
	s.send(request + "}\n")
	return s.reply()
}

// reply returns the next message that is no event.
func (s *session) reply() map[string]any {
	s.t.Helper()
	for {
		var m map[string]any
		line := s.line()
		if err := json.Unmarshal(line, &m); err != nil {
			s.t.Fatalf("%s: %v in %q", s.program, err, line)
		}
		if m["event"] == nil {
			return m
		}
	}
}

// TestObjects holds the conversation of testdata/objects.txt, in which each line
// is how answers compare, a command, and its arguments:
//
//	=      the same answer
//	class  an error of the same class in both; texts differ for the reason given above the line
//	has    a list; what govmd lists for the names in braces is what QEMU does
//	has-id the same of a list whose members have IDs
//	ours   what QEMU refuses, or lacks, and govmd does
func TestObjects(t *testing.T) {
	text, err := os.ReadFile("testdata/objects.txt")
	if err != nil {
		t.Fatal(err)
	}
	govmd, qemu := programs(t)
	a, b := startWith(t, govmd, objectOptions("qtest")), startWith(t, qemu, objectOptions("tcg"))
	for _, s := range []*session{a, b} {
		s.result("qmp_capabilities")
	}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		how, rest, _ := strings.Cut(line, " ")
		var names []string
		if strings.HasPrefix(how, "has") {
			list, r, _ := strings.Cut(strings.TrimPrefix(rest, "{"), "} ")
			names, rest = strings.Split(list, ","), r
		}
		command, args, _ := strings.Cut(rest, " ")
		got := a.answer(command, args)
		if how == "ours" {
			if got["return"] == nil {
				t.Errorf("objects.txt:%d: %s: %v", i+1, rest, got)
			}
			continue
		}
		want := b.answer(command, args)
		switch how {
		case "class":
			got, want = errorClass(got), errorClass(want)
		case "has":
			got, want = named(got, "name", names), named(want, "name", names)
		case "has-id":
			got, want = named(got, "id", names), named(want, "id", names)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("objects.txt:%d: %s:\n%v, from QEMU\n%v", i+1, rest, got, want)
		}
	}
}

func objectOptions(accel string) []string {
	return []string{"-M", "pc", "-accel", accel, "-S", "-nodefaults", "-display", "none", "-serial", "null",
		"-object", "rng-random,id=r0", "-device", "virtio-rng-pci,id=rng0,rng=r0"}
}

// errorClass is what is left of an error when its text does not count.
func errorClass(answer map[string]any) map[string]any {
	e, ok := answer["error"].(map[string]any)
	if !ok {
		return map[string]any{"no error": answer}
	}
	return map[string]any{"class": e["class"]}
}

// named returns those members of a list of objects that have one of the names,
// by name, without their descriptions.
func named(answer map[string]any, key string, names []string) map[string]any {
	list, ok := answer["return"].([]any)
	if !ok || len(names) == 0 {
		return answer
	}
	found := map[string]any{}
	for _, e := range list {
		m, _ := e.(map[string]any)
		delete(m, "description")
		for _, name := range names {
			if m[key] == name {
				found[name] = m
			}
		}
	}
	for _, name := range names {
		if found[name] == nil {
			found[name] = fmt.Sprintf("not among %d", len(list))
		}
	}
	return found
}
