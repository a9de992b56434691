package iothread

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/object"
)

// An iothread is a thread of the host's, with its name and true ID, and runs
// what is added to it.
func TestThread(t *testing.T) {
	var objects object.Collection
	procs := runtime.GOMAXPROCS(0)
	if err := objects.Parse("iothread,id=io0,poll-max-ns=0"); err != nil {
		t.Fatal(err)
	}
	th := objects.Find("io0").(*Thread)
	infos := list(&objects)
	name, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/comm", infos[0].ThreadID))
	if err != nil || strings.TrimSpace(string(name)) != "IO io0" {
		t.Errorf("thread %d is named %q (%v)", infos[0].ThreadID, name, err)
	}
	ran := make(chan int, 1)
	s, err := th.Worker().Add(func() { ran <- unix.Gettid() })
	if err != nil {
		t.Fatal(err)
	}
	s.Kick()
	if tid := <-ran; int64(tid) != infos[0].ThreadID {
		t.Errorf("ran on %d, not on %d", tid, infos[0].ThreadID)
	}
	if got := runtime.GOMAXPROCS(0); got != procs+1 {
		t.Errorf("%d processor slots, were %d", got, procs)
	}
	want := fmt.Sprintf("io0:\n  thread_id=%d\n  poll-max-ns=0\n  poll-grow=0\n  poll-shrink=0\n  aio-max-batch=0\n", infos[0].ThreadID)
	if got := text(&objects); got != want {
		t.Errorf("info iothreads: %q", got)
	}
	if err := objects.Delete("io0"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", infos[0].ThreadID)); err == nil && runtime.GOMAXPROCS(0) != procs {
		t.Error("the thread is there after the object has gone")
	}
}

func TestProperties(t *testing.T) {
	var objects object.Collection
	defer objects.Close()
	for text, want := range map[string]string{
		"iothread,id=a":                                                      "",
		"iothread,id=b,poll-max-ns=-1":                                       "poll-max-ns value must be in range [0, 9223372036854775807]",
		"iothread,id=b,poll-grow=-1":                                         "poll-grow value must be in range [0, 9223372036854775807]",
		"iothread,id=b,thread-pool-min=65":                                   "bad thread-pool-min/thread-pool-max values",
		"iothread,id=b,thread-pool-max=0":                                    "bad thread-pool-min/thread-pool-max values",
		"iothread,id=b,thread-pool-max=100":                                  "thread-pool-max=100 is not supported: each device has as many requests under way",
		"iothread,id=b,thread-pool-min=4":                                    "thread-pool-min=4 is not supported: helpers are there when they are needed, and stay",
		"iothread,id=b,aio-max-batch=-1":                                     "aio-max-batch value must be in range [0, 9223372036854775807]",
		"iothread,id=b,aio-max-batch=8":                                      "aio-max-batch=8 is not supported: what a guest asks for at a time goes to storage together",
		"iothread,id=c,aio-max-batch=0,thread-pool-min=0,thread-pool-max=64": "",
	} {
		got := ""
		if err := objects.Parse(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if err := object.Set(objects.Find("a"), "poll-max-ns", int64(7)); err != nil || list(&objects)[0].PollMax+list(&objects)[1].PollMax != 7+defaultPollMax {
		t.Errorf("poll-max-ns: %v", err)
	}
}
