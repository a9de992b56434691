package protocol

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A scene is a machine and a conversation held with it, from a file in
// testdata/reference. Its lines are
//
//	== TITLE           the next scene
//	vm: OPTIONS        of the machine, in one or more lines
//	sh: COMMAND        prepares the folder that is the machine's own, $D
//	-> REQUEST         what the reference shows, or without an answer below what goes before;
//	                   FD:PATH:MODE in front of it passes a file
//	<- ANSWER          what it shows in reply
//	any PATH: WHY      a value in the reply that is this machine's: its type counts
//	differs PATH: WHY  a value that is missing, or has another type or value
//
// in which a request or an answer goes on as long as lines are indented. A PATH has
// a member's name or index in the example for each step, * for all.
type scene struct {
	file, title string
	options, sh []string
	steps       []*step
}

type step struct {
	line            int
	request, answer string
	any, differs    []place
}

// place is where a value may differ from the example's.
type place struct{ path, why string }

func placeOf(text string) place {
	path, why, _ := strings.Cut(text, ": ")
	return place{strings.ReplaceAll(path, ".", "/"), why}
}

// find returns the first place whose pattern matches.
func find(places []place, at string) int {
	for i, p := range places {
		if ok, _ := path.Match(p.path, strings.ReplaceAll(at, ".", "/")); ok {
			return i
		}
	}
	return -1
}

func readScenes(t *testing.T, file string) (scenes []*scene) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s *scene
	var more *string // what an indented line continues
	for i, line := range strings.Split(string(text), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		last := func() *step {
			if s == nil || len(s.steps) == 0 {
				t.Fatalf("%s:%d: %q belongs to no request", file, i+1, line)
			}
			return s.steps[len(s.steps)-1]
		}
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
			continue
		case line[0] == ' ' && more != nil:
			*more += "\n" + line
			continue
		case word == "==":
			s = &scene{file: file, title: rest}
			scenes = append(scenes, s)
		case word == "vm:":
			s.options = append(s.options, strings.Fields(rest)...)
		case word == "sh:":
			s.sh = append(s.sh, rest)
		case word == "->":
			s.steps = append(s.steps, &step{line: i + 1, request: rest})
			more = &last().request
			continue
		case word == "<-":
			last().answer = rest
			more = &last().answer
			continue
		case word == "any":
			last().any = append(last().any, placeOf(rest))
		case word == "differs":
			last().differs = append(last().differs, placeOf(rest))
		default:
			t.Fatalf("%s:%d: %q is no line of a scene", file, i+1, line)
		}
		more = nil
	}
	return scenes
}

// The examples of the command reference bring what it shows. A command that comes
// brings its own here.
func TestReference(t *testing.T) {
	govmd, _ := programs(t)
	files, err := filepath.Glob("testdata/reference/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenes: %v", err)
	}
	for _, file := range files {
		for _, s := range readScenes(t, file) {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+s.title, func(t *testing.T) { s.play(t, govmd) })
		}
	}
}

func (s *scene) play(t *testing.T, program string) {
	dir := t.TempDir()
	for _, line := range s.sh {
		cmd := exec.Command("sh", "-e", "-c", line)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	k := &talker{startCommand(t, program, append([]string{"-display", "none"}, s.options...), func(c *exec.Cmd) { c.Dir = dir }), dir}
	if len(s.steps) == 0 || !strings.Contains(s.steps[0].request, "qmp_capabilities") {
		k.result("qmp_capabilities")
	}
	for _, step := range s.steps {
		step.hold(t, s.file, k)
	}
}

// hold asks for what the example asks for and compares the answers.
func (p *step) hold(t *testing.T, file string, k *talker) {
	t.Helper()
	files, request := passed(t, strings.ReplaceAll(p.request, "$D", k.dir))
	k.sendWith(request+"\n", files)
	reply := k.reply()
	where := fmt.Sprintf("%s:%d", file, p.line)
	if p.answer == "" {
		if reply["error"] != nil {
			t.Errorf("%s: %v", where, reply)
		}
		return
	}
	var example any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(p.answer, "$D", k.dir)), &example); err != nil {
		t.Fatalf("%s: %v in %s", where, err, p.answer)
	}
	c := comparison{step: p, used: map[place]bool{}}
	for _, d := range c.lacks("", reply, example) {
		t.Errorf("%s: %s", where, d)
	}
	for _, d := range p.differs {
		if !c.used[d] {
			t.Errorf("%s: nothing differs at %s any more, although %s", where, d.path, d.why)
		}
	}
}

// comparison of a reply with an example.
type comparison struct {
	*step
	used map[place]bool // of differs
}

// lacks reports what the example has at a place and the reply has not. A list in
// an example is an extract: what it shows is there in that order.
func (c *comparison) lacks(at string, got, example any) (list []string) {
	wrong := c.compare(at, got, example)
	if len(wrong) == 0 {
		return nil
	}
	if i := find(c.differs, at); i >= 0 {
		c.used[c.differs[i]] = true
		return nil
	}
	if i := find(c.any, at); i >= 0 && reflect.TypeOf(got) == reflect.TypeOf(example) {
		return nil
	}
	return wrong
}

func (c *comparison) compare(at string, got, example any) (list []string) {
	step := func(name any) string { return strings.TrimPrefix(fmt.Sprint(at, ".", name), ".") }
	switch e := example.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			for name, v := range e {
				list = append(list, c.lacks(step(name), g[name], v)...)
			}
			return list
		}
	case []any:
		if g, ok := got.([]any); ok {
			for i, v := range e {
				var first []string
				for n := 0; ; n++ {
					if n == len(g) {
						list = append(list, append(first, fmt.Sprintf("%s is not there: %v", step(i), v))...)
						break
					}
					wrong := c.lacks(step(i), g[n], v)
					if len(wrong) == 0 {
						g = g[n+1:]
						break
					}
					if n == 0 {
						first = wrong
					}
				}
			}
			return list
		}
	}
	if !reflect.DeepEqual(got, example) {
		list = append(list, fmt.Sprintf("%s is %v, in the reference %v", at, got, example))
	}
	return list
}
