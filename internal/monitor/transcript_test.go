package monitor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// TestTranscripts replays conversations. In a transcript
//
//	-> TEXT       is sent by the client, with a line feed
//	=> "TEXT"     is sent as it stands: a Go string
//	<- TEXT       is what the client is sent before the next of these lines
//	! WORD ...    is a directive, see directive
//
// and all other lines are remarks. More clients are called 2, 3, ...: "2-> TEXT".
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts:", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			run(t, func(t *testing.T, v *machine) { got = replay(t, v, string(text)) })
			if got == string(text) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("transcript differs:\n%s", firstDifference(string(text), got))
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			line := ""
			if i < len(w) {
				line = w[i]
			}
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, g[i], line)
		}
	}
	return "lines are missing at the end"
}

// replay returns the transcript as it should be.
func replay(t *testing.T, v *machine, text string) string {
	clients := map[string]*client{}
	var order []string
	var out strings.Builder
	get := func(name string) *client {
		c := clients[name]
		if c == nil {
			c = v.connect(Options{Pretty: strings.HasSuffix(name, "p")})
			clients[name] = c
			order = append(order, name)
			synctest.Wait()
		}
		return c
	}
	for _, line := range strings.SplitAfter(text, "\n") {
		line = strings.TrimSuffix(line, "\n")
		if strings.Contains(line, "<- ") && !strings.Contains(line, "-> ") {
			continue // output is written anew
		}
		fmt.Fprintln(&out, line)
		name, sent, ok := strings.Cut(line, "-> ")
		switch {
		case ok && len(name) <= 2:
			fmt.Fprintf(get(name).conn, "%s\n", sent)
		case strings.HasPrefix(line, "=> "):
			s, err := strconv.Unquote(line[3:])
			if err != nil {
				t.Fatal(line, err)
			}
			fmt.Fprint(get("").conn, s)
		case strings.HasPrefix(line, "! "):
			directive(t, v, get, strings.Fields(line)[1:])
		default:
			continue
		}
		synctest.Wait()
		for _, name := range order {
			for _, l := range strings.SplitAfter(clients[name].take(), "\n") {
				if l != "" {
					fmt.Fprintf(&out, "%s<- %s\n", name, strings.TrimSuffix(l, "\r\n"))
				}
			}
		}
	}
	s := strings.TrimSuffix(out.String(), "\n")
	for _, c := range clients {
		_ = c.conn.Close()
		<-c.done
	}
	return s
}

// directive is what else can happen in a transcript.
func directive(t *testing.T, v *machine, get func(string) *client, words []string) {
	switch words[0] {
	case "connect": // NAME
		get(append(words, "")[1])
	case "sleep": // DURATION
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(d)
	case "publish": // EVENT ARG...
		switch words[1] {
		case "STOP":
			v.bus.Publish(stopped{})
		case "RTC_CHANGE":
			n, err := strconv.Atoi(words[2])
			if err != nil {
				t.Fatal(err)
			}
			v.bus.Publish(rtcChange{n})
		case "VSERPORT_CHANGE":
			v.bus.Publish(portChange{words[2], words[3] == "open"})
		default:
			t.Fatal("event", words[1])
		}
	case "answer": // TEXT: for the oldest "later"
		v.mu.Lock()
		r := v.pending[0]
		v.pending = v.pending[1:]
		v.mu.Unlock()
		r.Return(textResult{words[1]})
	case "ready": // yes or no
		v.ready = words[1] == "yes"
	case "close": // NAME
		_ = get(append(words, "")[1]).conn.Close()
	default:
		t.Fatal("directive", words[0])
	}
}
