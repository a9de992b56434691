package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const usage = `usage: scripts/nested [OPTIONS] [--] CMD ARG...

Runs CMD as root in the nested host. Its standard streams, environment, working
folder and exit status are as if it ran here. It sees this host's root at /;
what it writes there is gone afterwards, except in the scratch folder (/scratch
inside, also in $NESTED_SCRATCH), which it shares with this host. /proc, /sys,
/dev and /run are the nested host's own. There is no network but lo.

Exit status: CMD's; 124 when the time limit passed, 125 when the nested host
failed, 126 and 127 when CMD could not be started, 128+N when signal N ended it.

Options:
`

// options is what the command line says.
type options struct {
	memoryMiB int
	cpus      int
	timeout   time.Duration // 0: none
	scratch   string        // "": a folder of its own, removed afterwards
	tty       bool
	verbose   bool
	forwards  []forward
	argv      []string
}

// A forward makes the Unix socket inner, in the nested host, reachable through
// outer in this one.
type forward struct {
	outer, inner string
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	var seconds int
	set := flag.NewFlagSet("nested", flag.ContinueOnError)
	set.IntVar(&o.memoryMiB, "memory", 2048, "memory of the nested host in `MiB`")
	set.IntVar(&o.cpus, "cpus", 2, "`number` of its CPUs")
	set.IntVar(&seconds, "timeout", 0, "end the command after so many `seconds` (0: never)")
	set.StringVar(&o.scratch, "scratch", os.Getenv("NESTED_SCRATCH"), "`folder` shared with this host (default $NESTED_SCRATCH, else a temporary one)")
	set.BoolVar(&o.tty, "tty", false, "give the command a terminal")
	set.BoolVar(&o.verbose, "verbose", false, "show the nested kernel's console on stderr")
	set.Func("forward", "listen on Unix socket `OUTER=INNER` here and pass connections to INNER inside; may be repeated", func(s string) error {
		outer, inner, ok := strings.Cut(s, "=")
		if !ok || outer == "" || inner == "" {
			return errors.New("expected OUTER=INNER")
		}
		o.forwards = append(o.forwards, forward{outer, inner})
		return nil
	})
	set.Usage = func() {
		fmt.Fprint(set.Output(), usage)
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	o.argv = set.Args()
	o.timeout = time.Duration(seconds) * time.Second
	switch {
	case len(o.argv) == 0:
		return nil, errors.New("no command given, see scripts/nested --help")
	case o.memoryMiB < 256:
		return nil, fmt.Errorf("--memory %d: the nested host needs at least 256 MiB", o.memoryMiB)
	case o.cpus < 1 || o.cpus > 64:
		return nil, fmt.Errorf("--cpus %d: must be 1 to 64", o.cpus)
	case seconds < 0:
		return nil, fmt.Errorf("--timeout %d: must not be negative", seconds)
	}
	if o.scratch != "" {
		dir, err := filepath.Abs(o.scratch)
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("--scratch: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("--scratch: %s is not a folder", dir)
		}
		o.scratch = dir
	}
	return o, nil
}
