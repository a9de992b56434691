package main

import (
	"fmt"
	"io"
	"slices"
)

// report prints a table: each benchmark's medians and how many times better
// govmd is.
func report(w io.Writer, benchmarks []benchmark, samples []sample) {
	fmt.Fprintf(w, "| %-44s | %12s | %12s | %-14s | %7s |\n", "what (median)", "govmd", "QEMU", "unit", "better")
	fmt.Fprintf(w, "|%s|%s:|%s:|%s|%s:|\n", dashes(46), dashes(13), dashes(13), dashes(16), dashes(8))
	var errors []sample
	for _, b := range benchmarks {
		values := make(map[string][]float64)
		for _, s := range samples {
			switch {
			case s.Benchmark != b.name:
			case s.Error != "":
				errors = append(errors, s)
			default:
				values[s.Contender] = append(values[s.Contender], s.Value)
			}
		}
		ours, theirs := values["govmd"], values["QEMU"]
		ratio := ""
		if len(ours) > 0 && len(theirs) > 0 {
			r := median(theirs) / median(ours)
			if b.more {
				r = 1 / r
			}
			ratio = fmt.Sprintf("%.2fx", r)
		}
		fmt.Fprintf(w, "| %-44s | %12s | %12s | %-14s | %7s |\n", b.name, figure(ours), figure(theirs), b.unit, ratio)
	}
	for _, s := range errors {
		fmt.Fprintf(w, "%s, %s: %s\n", s.Benchmark, s.Contender, s.Error)
	}
}

func figure(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	m := median(values)
	switch {
	case m >= 1000:
		return fmt.Sprintf("%.0f", m)
	case m >= 10:
		return fmt.Sprintf("%.1f", m)
	}
	return fmt.Sprintf("%.3f", m)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func dashes(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '-'
	}
	return string(b)
}
