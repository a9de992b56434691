package protocol

import (
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// incidental are members that say how an image happens to lie on the host's disk,
// or when a test ran.
var incidental = map[string]bool{
	"actual-size": true, "wr_highest_offset": true, "date-sec": true, "date-nsec": true, "cid": true, "parent-cid": true,
	"current-progress": true,
}

// bursts are the limits that need not be there.
var bursts = []string{"bps_max", "bps_rd_max", "bps_wr_max", "iops_max", "iops_rd_max", "iops_wr_max", "iops_size"}

var autoName = regexp.MustCompile(`#block\d+`)

// essential takes what is incidental out of an answer.
func essential(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if v[k] = essential(e); incidental[k] {
				delete(v, k)
			}
		}
		for _, burst := range bursts {
			if v[burst] == 0.0 {
				delete(v, burst) // govmd says 0, as the command reference does, where QEMU says nothing
			}
		}
		if data, ok := v["data"].(map[string]any); ok && v["event"] == "BLOCK_JOB_CANCELLED" {
			delete(data, "offset")
		}
		if v["auto-finalize"] != nil {
			delete(v, "offset") // how far a job has come
			delete(v, "busy")
		}
		if v["encryption_key_missing"] == false {
			delete(v, "encryption_key_missing") // QEMU 7.2 opens no image without its key
		}
		if v["backing-filename"] != nil {
			delete(v, "backing_file") // of an image: the same by the command reference's name
		}
		if v["format"] == "file" {
			delete(v, "virtual-size") // of a file that holds an image
		}
	case []any:
		for i, e := range v {
			v[i] = essential(e)
		}
	case string:
		return autoName.ReplaceAllString(v, "#auto")
	}
	return v
}

// turn sends a request and returns what comes, up to the answer: "until WORD REQUEST"
// up to a line with the word, too, with the answer first. It leaves out that jobs
// pause and go on, which they do whenever a node is drained.
func (s *session) turn(request string) (got []any) {
	s.t.Helper()
	word := ""
	if rest, ok := strings.CutPrefix(request, "until "); ok {
		word, request, _ = strings.Cut(rest, " ")
	}
	s.send(request + "\n")
	for answered, seen := false, word == ""; !answered || !seen; {
		var m map[string]any
		line := s.line()
		if err := json.Unmarshal(line, &m); err != nil {
			s.t.Fatal(err)
		}
		delete(m, "timestamp")
		switch e := essential(m); {
		case m["event"] == nil:
			answered = true
			got = slices.Insert(got, 0, e)
			continue
		case !unsteady(m):
			got = append(got, e)
		}
		seen = seen || strings.Contains(string(line), word)
	}
	return got
}

// unsteady reports whether an event is about a job that pauses or goes on.
func unsteady(m map[string]any) bool {
	data, _ := m["data"].(map[string]any)
	return m["event"] == "JOB_STATUS_CHANGE" && slices.Contains([]any{"paused", "running", "standby", "ready"}, data["status"])
}

// until sends a request, if it is not empty, and returns its answer and all that comes
// up to an event of that name in which word occurs ("2*word": the second). Whether the answer or the event
// comes first does not matter.
func (s *session) until(name, word, request string) (got []any) {
	s.t.Helper()
	var answer any
	if request != "" {
		s.send(request + "\n")
	}
	left := 1
	if n, rest, ok := strings.Cut(word, "*"); ok {
		left, _ = strconv.Atoi(n)
		word = rest
	}
	for left > 0 || request != "" && answer == nil {
		line := s.line()
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			s.t.Fatal(err)
		}
		delete(m, "timestamp")
		if m["event"] == nil {
			answer = essential(m)
			continue
		}
		got = append(got, essential(m))
		if m["event"] == name && strings.Contains(string(line), word) {
			left--
		}
	}
	return append(got, answer)
}

// What is said about images and drives is answered as QEMU does;
// testdata/block.txt says how lines compare.
func TestBlock(t *testing.T) {
	for _, name := range []string{
		"block", "blockhuman", "formats", "nbd", "net", "backup", "mirror", "blockjobs", "blockjobshuman", "blockjobspair", "blockcreate",
	} {
		t.Run(name, func(t *testing.T) { sameBlockTalk(t, "testdata/"+name+".txt") })
	}
}

func sameBlockTalk(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var prepare, args, requests, images []string
	why := map[int]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if cmd, ok := strings.CutPrefix(line, "sh "); ok {
			prepare = append(prepare, cmd)
		} else if a, ok := strings.CutPrefix(line, "args "); ok {
			args = append(args, strings.Fields(a)...)
		} else if w, ok := strings.CutPrefix(line, "differ: "); ok {
			why[len(requests)] = w
		} else if list, ok := strings.CutPrefix(line, "same "); ok {
			images = strings.Fields(list)
		} else if line != "" && line[0] != '#' {
			requests = append(requests, line)
		}
	}
	govmd, qemu := programs(t)
	var answers [2][]any
	var dirs [2]string
	for i, program := range []string{govmd, qemu} {
		dir := t.TempDir()
		dirs[i] = dir
		for _, p := range prepare {
			cmd := exec.Command("sh", "-c", p)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %s", p, out)
			}
		}
		t.Chdir(dir)
		s := startWith(t, program, append([]string{"-M", "none", "-S", "-nodefaults", "-display", "none"}, args...))
		s.turn(`{"execute": "qmp_capabilities"}`)
		for _, r := range requests {
			if cmd, ok := strings.CutPrefix(r, "run "); ok {
				out, err := exec.Command("sh", "-c", cmd).CombinedOutput()
				answers[i] = append(answers[i], []any{err == nil})
				if err != nil {
					t.Errorf("%s: %s", cmd, out)
				}
			} else if event, ok := strings.CutPrefix(r, "wait "); ok {
				name, rest, _ := strings.Cut(event, " ")
				word, request, _ := strings.Cut(rest, " ")
				answers[i] = append(answers[i], s.until(name, word, request))
			} else {
				answers[i] = append(answers[i], s.turn(r))
			}
		}
	}
	for i, r := range requests {
		got, want := answers[0][i], answers[1][i]
		switch same := reflect.DeepEqual(got, want); {
		case same && why[i] != "":
			t.Errorf("%s is answered as by QEMU, although %s", r, why[i])
		case !same && why[i] == "":
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			t.Errorf("%s brings\n%.3000s, from QEMU\n%.3000s", r, g, w)
		}
	}
	for _, name := range images {
		if out, err := exec.Command("qemu-img", "compare", "-U", dirs[0]+"/"+name, dirs[1]+"/"+name).CombinedOutput(); err != nil {
			t.Errorf("%s is not as it is with QEMU: %s", name, out)
		}
	}
}
