package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"govmd/internal/option"
	"govmd/internal/trace"
)

// program is what diagnostics begin with: the name that we were called by.
func program() string { return filepath.Base(os.Args[0]) }

// formatter writes log lines as programs of this kind do: "govmd: warning: text".
type formatter struct{ name string }

// Format implements logrus.Formatter.
func (f formatter) Format(e *logrus.Entry) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(messagePrefix() + f.name + ": ")
	switch e.Level {
	case logrus.WarnLevel:
		// What belongs to an option says so before it says that it is a warning.
		if !strings.Contains(e.Message, ": warning: ") {
			b.WriteString("warning: ")
		}
	case logrus.InfoLevel:
		b.WriteString("info: ")
	case logrus.DebugLevel, logrus.TraceLevel:
		b.WriteString("debug: ")
	}
	if d, ok := e.Data["device"]; ok {
		fmt.Fprintf(&b, "%v: ", d)
	}
	b.WriteString(oneLine(e.Message))
	var keys []string
	for k := range e.Data {
		if k != "device" {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, " %s=%v", k, e.Data[k])
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// splitter is where the log goes: what -d turns on to one place, all else to
// standard error. It is a hook because a logger itself has one place only.
type splitter struct {
	format formatter
	mu     sync.Mutex // one line at a time
	debug  io.Writer
	other  io.Writer
}

// Levels implements logrus.Hook.
func (*splitter) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (s *splitter) Fire(e *logrus.Entry) error {
	line, err := s.format.Format(e)
	if err != nil {
		return err
	}
	w := s.other
	if e.Level >= logrus.DebugLevel {
		w = s.debug
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = w.Write(line) // there is nowhere to complain
	return nil
}

func newLogger(debug, other io.Writer) (*logrus.Logger, *splitter) {
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetFormatter(quiet{})
	s := &splitter{format: formatter{program()}, debug: debug, other: other}
	l.AddHook(s)
	l.SetLevel(logrus.InfoLevel)
	trace.SetSink(s.trace)
	return l, s
}

// setDebug has what -d turns on go elsewhere.
func (s *splitter) setDebug(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.debug = w
}

// trace writes what a trace point says to where -d writes.
func (s *splitter) trace(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.debug.Write(line) // there is nowhere to complain
}

// quiet is the format of what nobody sees.
type quiet struct{}

// Format implements logrus.Formatter.
func (quiet) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// logItems are what -d turns on.
var logItems = []struct{ name, help string }{
	{"guest_errors", "log when the guest does something invalid, and what explains it"},
	{"unimp", "log when the guest asks for what is not there"},
	{"trace:PATTERN", "enable the trace points whose names match; 'trace:help' lists them"},
}

func checkLogItems(items string) error {
	for _, item := range strings.Split(items, ",") {
		known := item == "all" || item == "none"
		for _, i := range logItems {
			known = known || i.name == item
		}
		known = known || strings.HasPrefix(item, "trace:")
		if !known {
			return fmt.Errorf("log item '%s' is not supported; -d help lists those that are", item)
		}
	}
	return nil
}

// eachTrace calls enable with the patterns of trace points among the items. It ends, and
// help is true, at an item that asks which there are.
func eachTrace(items string, enable func(pattern string)) (help bool) {
	for _, item := range strings.Split(items, ",") {
		pattern, ok := strings.CutPrefix(item, "trace:")
		switch {
		case !ok:
		case option.IsHelp(pattern):
			return true
		default:
			enable(pattern)
		}
	}
	return false
}

// logLevel is how much the items ask for.
func logLevel(items string) logrus.Level {
	for _, item := range strings.Split(items, ",") {
		if item != "" && item != "none" && !strings.HasPrefix(item, "trace:") {
			return logrus.DebugLevel
		}
	}
	return logrus.InfoLevel
}
