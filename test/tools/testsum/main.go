// Command testsum reads what `go test -json` writes, shows what a person wants
// of it (packages, and the output of what failed), and keeps count over several
// runs:
//
//	go test -json ./... | testsum --tally FILE
//	testsum --tally FILE --check NAME STATUS   # a check that is no Go test
//	testsum --tally FILE --total
//
// With --total it prints the line "N passed, N failed". A test that was skipped
// in every run counts as failed: there is a place for each where it must run.
// The exit status is 1 when something failed.
//
// With --passed FILE the run may be followed by another one of the same package,
// without the tests whose names this one adds to FILE, for what failed through no
// fault of its own. What failed and passes then is no failure, but the total names it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	tally := flag.String("tally", "", "`file` that keeps the count")
	check := flag.Bool("check", false, "count the check NAME, which ended with exit status STATUS")
	total := flag.Bool("total", false, "print the total")
	passed := flag.String("passed", "", "add the names of the tests that passed to `file`, and let others be run again")
	flag.Parse()
	ok, err := run(*tally, *passed, *check, *total, flag.Args())
	if err != nil {
		fmt.Fprintf(os.Stderr, "testsum: %v\n", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(tally, passed string, check, total bool, args []string) (ok bool, err error) {
	if total {
		f, err := os.Open(tally)
		if err != nil {
			return false, err
		}
		defer f.Close()
		return sum(f, os.Stdout)
	}
	f, err := os.OpenFile(tally, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if check {
		if len(args) != 2 {
			return false, fmt.Errorf("--check wants NAME and STATUS")
		}
		r := result{Name: args[0], Outcome: "pass"}
		if args[1] != "0" {
			r.Outcome = "fail"
		}
		return r.Outcome == "pass", json.NewEncoder(f).Encode(r)
	}
	if passed == "" {
		return follow(os.Stdin, os.Stdout, f, nil)
	}
	p, err := os.OpenFile(passed, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return false, err
	}
	defer p.Close()
	return follow(os.Stdin, os.Stdout, f, p)
}

// A result is a line of the tally.
type result struct {
	Name    string
	Outcome string // pass, fail or skip; again: a failure, unless a later run passes; over: a package's end without one
}

// An event is what test2json writes, see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// follow shows a run as it goes and appends its results to tally. Where passed is
// not nil what fails may be run again, and the tests that need not be are added there.
func follow(in io.Reader, out, tally, passed io.Writer) (ok bool, err error) {
	ok = true
	results := json.NewEncoder(tally)
	output := make(map[string][]string) // of each package and test that has not ended
	packages := make(map[string]*counts)
	parents := make(map[string]bool) // tests with subtests, which are what is counted
	blamed := make(map[string]bool)  // tests whose failure a subtest has shown
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			break
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Fprintf(out, "%s", line) // no event: what go says outside of tests
			continue
		}
		name := e.Package
		if e.Test != "" {
			name += "." + e.Test
		}
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "run":
			if i := strings.LastIndexByte(name, '/'); i >= 0 {
				parents[name[:i]] = true
			}
		case "output":
			output[name] = append(output[name], e.Output)
		case "pass", "fail", "skip":
			p := packages[e.Package]
			if p == nil {
				p = &counts{}
				packages[e.Package] = p
			}
			if e.Action == "fail" {
				ok = false
				for _, s := range output[name] {
					fmt.Fprint(out, s)
				}
				if i := strings.LastIndexByte(name, '/'); i >= 0 {
					blamed[name[:i]] = true
				}
			}
			r := result{name, e.Action}
			if passed != nil {
				switch {
				case e.Action == "fail":
					r.Outcome = "again"
				case e.Action == "pass" && e.Test != "" && !strings.Contains(e.Test, "/"):
					if _, err := fmt.Fprintln(passed, e.Test); err != nil {
						return false, err
					}
				}
			}
			switch {
			case e.Test == "":
				if !endPackage(e, out, p) {
					if passed == nil || e.Action != "pass" {
						continue
					}
					r.Outcome = "over"
				}
			case parents[name] && (e.Action == "pass" || blamed[name]):
				continue
			default:
				p.count(e.Action)
			}
			if err := results.Encode(r); err != nil {
				return false, err
			}
			delete(output, name)
		}
	}
	return ok, nil
}

// counts are of one package's tests.
type counts struct {
	passed, failed, skipped int
}

func (c *counts) count(action string) {
	switch action {
	case "pass":
		c.passed++
	case "fail":
		c.failed++
	default:
		c.skipped++
	}
}

// endPackage shows the result of a package. It returns whether the package itself
// is to be counted: as a failure, when none of its tests failed but it did (it
// does not build, it crashed).
func endPackage(e event, out io.Writer, c *counts) bool {
	word := "ok  "
	switch {
	case e.FailedBuild != "":
		fmt.Fprintf(out, "FAIL %s: it does not build\n", e.Package)
		return true
	case e.Action == "fail":
		word = "FAIL"
	case *c == counts{}:
		return false // it has no tests
	}
	fmt.Fprintf(out, "%s %s: %d passed", word, e.Package, c.passed)
	if c.failed > 0 {
		fmt.Fprintf(out, ", %d failed", c.failed)
	}
	if c.skipped > 0 {
		fmt.Fprintf(out, ", %d left to other runs", c.skipped)
	}
	fmt.Fprintf(out, " in %.1f s\n", e.Elapsed)
	return e.Action == "fail" && c.failed == 0
}

// sum prints the total of a tally.
func sum(tally io.Reader, out io.Writer) (ok bool, err error) {
	failed := 0
	skipped := make(map[string]bool) // in every run so far
	ran := make(map[string]bool)
	passed := make(map[string]bool)
	over := make(map[string]bool) // packages
	again := make(map[string]bool)
	decoder := json.NewDecoder(tally)
	for {
		var r result
		if err := decoder.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			return false, err
		}
		switch r.Outcome {
		case "skip":
			skipped[r.Name] = true
			continue
		case "over":
			over[r.Name] = true
			continue
		case "pass":
			passed[r.Name] = true
		case "again":
			again[r.Name] = true
		default:
			failed++
			fmt.Fprintf(out, "failed: %s\n", r.Name)
		}
		ran[r.Name] = true
		// Subtests show that their parent ran.
		for name := r.Name; ; {
			i := strings.LastIndexByte(name, '/')
			if i < 0 {
				break
			}
			name = name[:i]
			ran[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(again)) {
		if passed[name] || over[name] {
			fmt.Fprintf(out, "repeated: %s failed, and passed when it was run again\n", name)
			continue
		}
		failed++
		fmt.Fprintf(out, "failed: %s\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(skipped)) {
		if !ran[name] {
			failed++
			fmt.Fprintf(out, "failed: %s was skipped everywhere\n", name)
		}
	}
	_, err = fmt.Fprintf(out, "%d passed, %d failed\n", len(passed), failed)
	return failed == 0, err
}
