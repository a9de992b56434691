// Command bench runs govmd and QEMU in turn on the same work and prints medians
// and ratios. scripts/bench builds and starts it; docs/benchmarks.md has figures.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"syscall"
)

// A contender is a program to be measured.
type contender struct {
	name, path string
}

// A benchmark measures one thing once with each call.
type benchmark struct {
	name   string
	unit   string
	runs   int
	nested bool // in the nested host, not on this one
	// more says that a greater figure is the better one.
	more bool
	once func(c contender) (float64, error)
}

// A sample is one measurement.
type sample struct {
	Benchmark string
	Contender string
	Value     float64
	Error     string `json:",omitempty"`
}

func main() {
	var (
		govmd  = flag.String("govmd", "bin/govmd", "`path` of govmd")
		qemu   = flag.String("qemu", "qemu-system-x86_64", "`path` of QEMU")
		only   = flag.String("only", "", "run only benchmarks that match this `regexp`")
		runs   = flag.Int("runs", 0, "runs of each benchmark instead of its own `number`")
		list   = flag.Bool("list", false, "list the benchmarks")
		nested = flag.String("nested", "", "`command` that runs others in the nested host; without it what belongs there is left out")
		inner  = flag.Bool("inner", false, "run what belongs in the nested host, here, and print samples as JSON")
		guest  = flag.String("guest", "", "`path` of the test guest's initramfs")
		kernel = flag.String("kernel", "", "`folder` of the unpacked kernel")
	)
	flag.Parse()
	all := slices.Concat(startBenchmarks(), memoryBenchmarks(), qmpBenchmarks(), monitorBenchmarks(), exitBenchmarks(), bootBenchmarks(*kernel, *guest))
	if *list {
		for _, b := range all {
			fmt.Printf("%s (%s, %d runs)\n", b.name, b.unit, b.runs)
		}
		return
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fatal(err)
	}
	all = slices.DeleteFunc(all, func(b benchmark) bool { return !pattern.MatchString(b.name) })
	for i := range all {
		if *runs > 0 {
			all[i].runs = *runs
		}
	}
	contenders := find(contender{"govmd", *govmd}, contender{"QEMU", *qemu})

	if *inner {
		samples := measure(all, contenders, true)
		if err := json.NewEncoder(os.Stdout).Encode(samples); err != nil {
			fatal(err)
		}
		return
	}
	samples := measure(all, contenders, false)
	for _, b := range all {
		if *nested == "" || !b.nested {
			continue
		}
		more, err := measureNested(*nested, b)
		if err != nil {
			fatal(err)
		}
		samples = append(samples, more...)
	}
	report(os.Stdout, all, samples)
	for _, s := range samples {
		if s.Error != "" {
			os.Exit(1)
		}
	}
}

func fatal(err error) {
	fmt.Fprintf(os.Stderr, "bench: %v\n", err)
	os.Exit(1)
}

// find returns the contenders that are there.
func find(wanted ...contender) (found []contender) {
	for _, c := range wanted {
		path, err := exec.LookPath(c.path)
		if err != nil && !errors.Is(err, exec.ErrDot) {
			fmt.Fprintf(os.Stderr, "bench: leaving out %s: %v\n", c.name, err)
			continue
		}
		found = append(found, contender{c.name, path})
	}
	return found
}

// measure runs the benchmarks that belong here, the contenders in turn, so that
// what else the machine does hits all of them alike.
func measure(benchmarks []benchmark, contenders []contender, nested bool) (samples []sample) {
	for _, b := range benchmarks {
		if b.nested != nested {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s (%s):", b.name, b.unit)
		gone := make(map[string]bool) // contenders that cannot do it
		for range b.runs {
			for _, c := range contenders {
				if gone[c.name] {
					continue
				}
				s := sample{Benchmark: b.name, Contender: c.name}
				value, err := patiently(b, c)
				if err != nil {
					gone[c.name] = true
					s.Error = err.Error()
					fmt.Fprintf(os.Stderr, " %s failed", c.name)
				} else {
					s.Value = value
					fmt.Fprintf(os.Stderr, " %s %.4g", c.name, value)
				}
				samples = append(samples, s)
			}
		}
		fmt.Fprintln(os.Stderr)
	}
	return samples
}

// patiently measures again what hung in the emulated host. There it is the
// processor's doing: QEMU's emulation of SVM mixes up two sets of registers once in
// some hundred thousand exits: the guest's RIP is then in the host's kernel.
func patiently(b benchmark, c contender) (value float64, err error) {
	const tries = 3
	for range tries {
		value, err = b.once(c)
		if !b.nested || !errors.Is(err, os.ErrDeadlineExceeded) {
			return value, err
		}
		fmt.Fprintf(os.Stderr, " %s hung", c.name)
	}
	return 0, fmt.Errorf("hung %d times: %w", tries, err)
}

// measureNested runs this program with the same arguments in the nested host, for
// one benchmark. An emulated host that hangs itself, as it does now and then, is
// given up and started again.
func measureNested(command string, b benchmark) (samples []sample, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	limit := 60 + 40*b.runs // seconds, for what takes 20 on an idle machine
	args := append([]string{"--timeout", strconv.Itoa(limit), "--", self, "-inner"}, os.Args[1:]...)
	args = append(args, "-only", "^"+regexp.QuoteMeta(b.name)+"$")
	const tries = 3
	for range tries {
		cmd := exec.Command(command, args...)
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		var out []byte
		if out, err = cmd.Output(); err == nil {
			return samples, json.Unmarshal(out, &samples)
		}
		fmt.Fprintf(os.Stderr, " %v\n", err)
	}
	return []sample{{Benchmark: b.name, Contender: "the nested host", Error: err.Error()}}, nil
}
