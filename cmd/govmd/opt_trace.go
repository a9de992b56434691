package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"govmd/internal/option"
	"govmd/internal/trace"
	"govmd/internal/tracectl"
)

var traceSchema = &option.Schema{Name: "trace", Implied: "enable", Keys: []option.Key{
	{Name: "enable", Help: "name or pattern of trace points"},
	{Name: "events", Help: "file of names and patterns, one a line"},
	{Name: "file", Help: "where they are logged, as -D"},
}}

// applyTrace enables trace points at once, so that they show the start too.
func applyTrace(s *setup, given, text string) error {
	list := option.Parse(text, traceSchema.Implied)
	if v, ok := list.Get(traceSchema.Implied); ok && option.IsHelp(v) {
		s.help = printTracePoints
		return nil
	}
	o, err := s.parse(traceSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	if p := o.Str("enable"); p != "" {
		s.enableTrace(given, p)
	}
	if name := o.Str("events"); name != "" {
		patterns, err := readPatterns(name)
		if err != nil {
			return err
		}
		for _, p := range patterns {
			s.enableTrace(given, p)
		}
	}
	if name := o.Str("file"); name != "" {
		s.logFile = name
	}
	return nil
}

// maxPatterns bounds the file of patterns.
const maxPatterns = 1 << 20

func readPatterns(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("events=%s: %w", name, pathReason(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPatterns+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("events=%s: %w", name, pathReason(err))
	case len(text) > maxPatterns:
		return nil, fmt.Errorf("events=%s: %w", name, errors.New("the file is too large to be one of patterns"))
	}
	return trace.Patterns(string(text)), nil
}

// enableTrace enables what a pattern matches; a plain name that does not exist
// is worth a warning.
func (s *setup) enableTrace(given, pattern string) {
	if !trace.Enable(pattern) && !trace.IsPattern(pattern) {
		s.warn(given, fmt.Sprintf("trace event '%s' does not exist", pattern))
	}
}

// traceControl has the commands about trace points.
func (v *vm) traceControl() tracectl.Control {
	return tracectl.Control{VCPUs: func() int { return v.cfg.SMP.CPUs }}
}

func printTracePoints() error { return listTracePoints(os.Stdout) }

func listTracePoints(w io.Writer) error {
	for _, p := range trace.Matching("*") {
		if _, err := fmt.Fprintln(w, p.Name()); err != nil {
			return err
		}
	}
	return nil
}
