package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

var machines = []string{"pc", "microvm"}

// paused are the options of a machine that does not run.
func paused(machine string) []string {
	return []string{"-M", machine, "-accel", "kvm", "-m", "256", "-S"}
}

// startBenchmarks: from exec to the first reply over QMP.
func startBenchmarks() (all []benchmark) {
	for _, machine := range machines {
		all = append(all, benchmark{
			name: "start to first QMP reply, " + machine, unit: "ms", runs: 21,
			once: func(c contender) (float64, error) {
				p, err := start(c, 1, nil, paused(machine)...)
				if err != nil {
					return 0, err
				}
				took := time.Since(p.started)
				p.stop()
				return took.Seconds() * 1000, nil
			},
		})
	}
	return all
}

// memoryBenchmarks: what a paused machine of 256 MiB has resident.
func memoryBenchmarks() (all []benchmark) {
	for _, machine := range machines {
		all = append(all, benchmark{
			name: "resident memory, paused " + machine, unit: "MiB", runs: 5,
			once: func(c contender) (float64, error) {
				p, err := start(c, 1, nil, paused(machine)...)
				if err != nil {
					return 0, err
				}
				defer p.stop()
				return resident(p.cmd.Process.Pid)
			},
		})
	}
	return all
}

// resident is a process's resident set in MiB, shared libraries included.
func resident(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			fields := bytes.Fields(rest)
			kib, err := strconv.Atoi(string(fields[0]))
			return float64(kib) / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}

// qmpBenchmarks: query-status round trips, over one connection and over several
// at once.
func qmpBenchmarks() (all []benchmark) {
	for _, n := range []int{1, 16} {
		all = append(all, benchmark{
			name: fmt.Sprintf("QMP round trips, %d at once", n), unit: "1/s", runs: 5, more: true,
			once: func(c contender) (float64, error) {
				p, err := start(c, n, nil, paused("pc")...)
				if err != nil {
					return 0, err
				}
				defer p.stop()
				return rate(p, time.Second)
			},
		})
	}
	return all
}

// rate is how many round trips a second the connections make together.
func rate(p *process, length time.Duration) (float64, error) {
	var wg sync.WaitGroup
	counts := make([]int, len(p.conns))
	errs := make([]error, len(p.conns))
	began := time.Now()
	end := began.Add(length)
	for i, conn := range p.conns {
		wg.Go(func() { counts[i], errs[i] = countTrips(conn, end) })
	}
	wg.Wait()
	took := time.Since(began)
	total := 0
	for i, n := range counts {
		if errs[i] != nil {
			return 0, errs[i]
		}
		total += n
	}
	return float64(total) / took.Seconds(), nil
}

func countTrips(conn net.Conn, end time.Time) (n int, err error) {
	request, buf := []byte(`{"execute":"query-status"}`+"\n"), make([]byte, 4096)
	for ; n%64 != 0 || time.Now().Before(end); n++ {
		if err := roundTrip(conn, request, buf); err != nil {
			return n, err
		}
	}
	return n, nil
}
