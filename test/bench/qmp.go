package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"time"
)

// empty are the options of a program without a machine: its monitors are measured.
var empty = []string{"-M", "none"}

// monitorBenchmarks: what monitors cost beside their round trips.
func monitorBenchmarks() []benchmark {
	return []benchmark{
		{name: "QMP round trips beside a client that is dead", unit: "1/s", runs: 5, more: true, once: besideDead},
		{name: "query-qmp-schema", unit: "ms", runs: 11, once: func(c contender) (float64, error) {
			took, _, err := schema(c)
			return took, err
		}},
		{name: "size of query-qmp-schema", unit: "KiB", runs: 1, once: func(c contender) (float64, error) {
			_, size, err := schema(c)
			return size, err
		}},
		{name: "resident memory after a million commands", unit: "MiB", runs: 1, once: func(c contender) (float64, error) {
			return residentAfter(c, `{"execute":"query-status"}`+"\n", 1_000_000)
		}},
		{name: "resident memory after a million events", unit: "MiB", runs: 1, once: func(c contender) (float64, error) {
			return residentAfter(c, `{"execute":"stop"}`+"\n"+`{"execute":"cont"}`+"\n", 1_000_000)
		}},
	}
}

// besideDead is the rate of a client while another has asked much and reads nothing.
func besideDead(c contender) (float64, error) {
	p, err := start(c, 2, nil, empty...)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	dead := p.conns[1]
	defer dead.Close()
	if err := dead.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	request := bytes.Repeat([]byte(`{"execute":"query-qmp-schema"}`+"\n"), 1000)
	for err == nil { // until it is not read any more
		_, err = dead.Write(request)
	}
	var late net.Error
	if !errors.As(err, &late) || !late.Timeout() {
		return 0, err
	}
	p.conns = p.conns[:1]
	return rate(p, time.Second)
}

// schema returns how long query-qmp-schema takes, in ms, and how many KiB it has.
func schema(c contender) (ms, kib float64, err error) {
	p, err := start(c, 1, nil, empty...)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	r := bufio.NewReaderSize(p.conns[0], 1<<20)
	began := time.Now()
	if _, err := p.conns[0].Write([]byte(`{"execute":"query-qmp-schema"}` + "\n")); err != nil {
		return 0, 0, err
	}
	line, err := r.ReadBytes('\n')
	return time.Since(began).Seconds() * 1000, float64(len(line)) / 1024, err
}

// residentAfter is the memory of a program that has sent n messages in answer to
// requests, which are repeated and answered by as many messages as they have lines,
// events not counted where they come in addition.
func residentAfter(c contender, requests string, n int) (float64, error) {
	p, err := start(c, 1, nil, empty...)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	conn := p.conns[0]
	if err := conn.SetDeadline(time.Now().Add(10 * limit)); err != nil {
		return 0, err
	}
	const together = 8 // more would only wait in the socket
	request := bytes.Repeat([]byte(requests), together)
	answers := bytes.Count(request, []byte("\n"))
	r := bufio.NewReaderSize(conn, 64<<10)
	for done := 0; done < n; done += answers {
		if _, err := conn.Write(request); err != nil {
			return 0, err
		}
		for left := answers; left > 0; {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return 0, err
			}
			if !bytes.Contains(line, []byte(`"event"`)) {
				left--
			}
		}
	}
	return resident(p.cmd.Process.Pid)
}
