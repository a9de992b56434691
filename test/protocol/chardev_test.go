package protocol

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sendWith sends text with files, which it closes.
func (s *session) sendWith(text string, files []*os.File) {
	s.t.Helper()
	if len(files) == 0 {
		s.send(text)
		return
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
		defer f.Close()
	}
	if _, _, err := s.conn.(*net.UnixConn).WriteMsgUnix([]byte(text), unix.UnixRights(fds...), nil); err != nil {
		s.t.Fatalf("%s: %v", s.program, err)
	}
}

// talker is a program with a folder of its own.
type talker struct {
	*session
	dir string
}

// files opens what a line passes and returns the rest of it.
func passed(t *testing.T, line string) (files []*os.File, rest string) {
	t.Helper()
	for strings.HasPrefix(line, "FD:") {
		word, tail, _ := strings.Cut(line, " ")
		path, mode, _ := strings.Cut(strings.TrimPrefix(word, "FD:"), ":")
		flags := map[string]int{"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[mode]
		f, err := os.OpenFile(path, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		files, line = append(files, f), tail
	}
	return files, line
}

// various is what differs between runs: ports, terminals, names of new files.
var various = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`/dev/pts/\d+`), "/dev/pts/N"},
	{regexp.MustCompile(`(tcp|telnet):(\[?[0-9a-f.:]+\]?):\d{4,5},`), "$1:$2:PORT,"},
	{regexp.MustCompile(`/tmp/(qemu|govmd)-socket-\w+`), "SOCKET"},
}

// ask asks for a command and returns the answer with what differs between runs
// taken out, lists in the order of their labels.
func (s *talker) ask(line string) map[string]any {
	s.t.Helper()
	files, line := passed(s.t, line)
	command, args, _ := strings.Cut(line, " ")
	request := `{"execute": "` + command + `"`
	if args != "" {
		request += `, "arguments": ` + strings.ReplaceAll(args, "$D", s.dir)
	}
	s.sendWith(request+"}\n", files)
	for {
		text := strings.ReplaceAll(string(s.line()), s.dir, "$D")
		for _, v := range various {
			text = v.re.ReplaceAllString(text, v.with)
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			s.t.Fatalf("%s: %v in %q", s.program, err, text)
		}
		if m["event"] == nil {
			return m
		}
	}
}

// labelled returns the members of a list but those whose label is in without.
func labelled(answer map[string]any, without map[string]bool) map[string]any {
	list, ok := answer["return"].([]any)
	if !ok {
		return answer
	}
	label := func(e any) string {
		m, _ := e.(map[string]any)
		s, _ := m["label"].(string)
		return s
	}
	list = slices.DeleteFunc(list, func(e any) bool { return without[label(e)] })
	slices.SortStableFunc(list, func(a, b any) int { return cmp.Compare(label(a), label(b)) })
	return map[string]any{"return": list}
}

// plainNumbers takes the numbers of descriptors out of an answer.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if v[k] = plainNumbers(e); k == "fd" {
				v[k] = "N"
			}
		}
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	}
	return v
}

var idOf = regexp.MustCompile(`"id" ?: ?"([^"]*)"`)

// What is said about descriptors and character devices is answered as QEMU does;
// testdata/chardev.txt says how lines compare.
func TestChardevs(t *testing.T) {
	text, err := os.ReadFile("testdata/chardev.txt")
	if err != nil {
		t.Fatal(err)
	}
	govmd, qemu := programs(t)
	begin := func(program string) *talker {
		dir, err := os.MkdirTemp("", "c") // a test's own folder is too deep for sockets
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		for _, fifo := range []string{"p1", "p2.in", "p2.out"} {
			if err := unix.Mkfifo(dir+"/"+fifo, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := start(t, program)
		s.result("qmp_capabilities")
		return &talker{s, dir}
	}
	a, b := begin(govmd), begin(qemu)
	refused := map[string]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		how, rest, _ := strings.Cut(line, " ")
		got, want := a.ask(rest), b.ask(rest)
		switch how {
		case "=":
			got, _ = plainNumbers(labelled(got, nil)).(map[string]any)
			want, _ = plainNumbers(labelled(want, refused)).(map[string]any)
		case "class":
			got, want = errorClass(got), errorClass(want)
		case "ours":
			if got["error"] != nil || reflect.DeepEqual(got, want) {
				t.Errorf("chardev.txt:%d: %s: %v, from QEMU %v", i+1, rest, got, want)
			}
			continue
		case "refused":
			if got["error"] == nil || want["error"] != nil {
				t.Errorf("chardev.txt:%d: %s: %v, from QEMU %v", i+1, rest, got, want)
			}
			if m := idOf.FindStringSubmatch(rest); m != nil {
				refused[m[1]] = true
			}
			continue
		default:
			t.Fatalf("chardev.txt:%d: %q is no way to compare", i+1, how)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("chardev.txt:%d: %s:\n%v, from QEMU\n%v", i+1, rest, got, want)
		}
	}
}

// The back ends that there are, QEMU has too, and each can be asked for.
func TestBackends(t *testing.T) {
	govmd, qemu := programs(t)
	a, b := start(t, govmd), start(t, qemu)
	for _, s := range []*session{a, b} {
		s.result("qmp_capabilities")
	}
	theirs := b.names("query-chardev-backends")
	for _, name := range a.names("query-chardev-backends") {
		if !slices.Contains(theirs, name) {
			t.Errorf("QEMU has no %s", name)
		}
		answer := a.answer("chardev-add", fmt.Sprintf(`{"id": "x", "backend": {"type": %q, "data": {"nonsense": 1}}}`, name))
		if e, _ := answer["error"].(map[string]any); e == nil || strings.Contains(e["desc"].(string), "does not accept") {
			t.Errorf("%s: %v", name, answer)
		}
	}
}
