package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/sirupsen/logrus"
)

// program is what diagnostics begin with: the name that we were called by.
func program() string { return filepath.Base(os.Args[0]) }

// formatter writes log lines as programs of this kind do: "govmd: warning: text".
type formatter struct{ name string }

// Format implements logrus.Formatter.
func (f formatter) Format(e *logrus.Entry) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(f.name + ": ")
	switch e.Level {
	case logrus.WarnLevel:
		b.WriteString("warning: ")
	case logrus.InfoLevel:
		b.WriteString("info: ")
	case logrus.DebugLevel, logrus.TraceLevel:
		b.WriteString("debug: ")
	}
	if d, ok := e.Data["device"]; ok {
		fmt.Fprintf(&b, "%v: ", d)
	}
	b.WriteString(e.Message)
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

func newLogger(w io.Writer) *logrus.Logger {
	l := logrus.New()
	l.SetOutput(w)
	l.SetFormatter(formatter{program()})
	l.SetLevel(logrus.InfoLevel)
	return l
}

// logItems are what -d turns on.
var logItems = []struct{ name, help string }{
	{"guest_errors", "log when the guest does something invalid, and other details that explain it"},
	{"unimp", "log when the guest asks for what is not there"},
}

func setLogItems(l *logrus.Logger, items string) error {
	for _, item := range strings.Split(items, ",") {
		known := item == "all" || item == "none"
		for _, i := range logItems {
			known = known || i.name == item
		}
		if !known {
			return fmt.Errorf("log item '%s' is not supported; -d help lists those that are", item)
		}
		if item != "none" {
			l.SetLevel(logrus.DebugLevel)
		}
	}
	return nil
}
