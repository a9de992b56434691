package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lines returns the lines of what a client was sent.
func lines(s string) []string {
	return strings.Split(strings.TrimSuffix(s, "\r\n"), "\r\n")
}

// A client that does not read stops being read itself, and nobody else notices.
func TestStalledClient(t *testing.T) {
	run(t, func(t *testing.T, v *machine) {
		a, b := v.connect(Options{}), v.connect(Options{})
		a.negotiate()
		b.negotiate()
		release := a.hold()
		sent := make(chan struct{})
		const n = 1000
		go func() {
			defer close(sent)
			for i := range n {
				cmd := "repeat" // off the lane and on it, in turn
				args := `{"n":2000}`
				if i%3 == 0 {
					cmd, args = "echo", `{"text":"`+strings.Repeat("y", 2000)+`"}`
				}
				fmt.Fprintf(a.conn, `{"execute":%q,"arguments":%s,"id":%d}`+"\n", cmd, args, i)
			}
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Fatal("the client's commands went on being read")
		default:
		}
		for _, s := range v.m.snapshot() {
			s.out.mu.Lock()
			if len(s.out.buf) > 2*maxOutput {
				t.Errorf("%d bytes of output wait", len(s.out.buf))
			}
			s.out.mu.Unlock()
			s.mu.Lock()
			if len(s.queue) > maxQueue {
				t.Errorf("%d requests wait", len(s.queue))
			}
			s.mu.Unlock()
		}
		if got := b.say(`{"execute":"echo","arguments":{"text":"hello"}}`); got != `{"return": {"text": "hello"}}`+"\r\n" {
			t.Errorf("the other client: %q", got)
		}
		release()
		<-sent
		synctest.Wait()
		got := lines(a.take())
		for i, l := range got {
			if !strings.HasSuffix(l, fmt.Sprintf(`"id": %d}`, i)) {
				t.Fatalf("response %d: ...%s", i, l[max(0, len(l)-20):])
			}
		}
		if len(got) != n {
			t.Errorf("%d responses to %d commands", len(got), n)
		}
		_ = a.conn.Close()
		_ = b.conn.Close()
	})
}

// Large requests do not pile up: the second one waits outside the queue.
func TestLargeRequestsWait(t *testing.T) {
	run(t, func(t *testing.T, v *machine) {
		c := v.connect(Options{})
		c.negotiate()
		c.say(`{"execute":"block","id":"b"}`)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 4 {
				fmt.Fprintf(c.conn, `{"execute":"peek","id":"%s"}`+"\n", strings.Repeat("x", maxQueued*3/4))
			}
		}()
		synctest.Wait()
		for _, s := range v.m.snapshot() {
			s.mu.Lock()
			if len(s.queue) != 2 || s.queued > maxQueued {
				t.Errorf("%d requests of %d bytes in the queue", len(s.queue), s.queued)
			}
			s.mu.Unlock()
		}
		v.held <- struct{}{}
		<-done
		synctest.Wait()
		got := lines(c.take())
		if len(got) != 5 || !strings.Contains(got[0], `"id": "b"`) {
			t.Errorf("%d responses", len(got))
		}
		for _, s := range v.m.snapshot() {
			s.mu.Lock()
			if len(s.queue) != 0 || s.queued != 0 {
				t.Errorf("%d requests of %d bytes are left in the queue", len(s.queue), s.queued)
			}
			s.mu.Unlock()
		}
		_ = c.conn.Close()
	})
}

// Of the events for a client that does not read the newest are kept.
func TestEventsForStalledClient(t *testing.T) {
	run(t, func(t *testing.T, v *machine) {
		a := v.connect(Options{})
		a.negotiate()
		release := a.hold()
		fmt.Fprint(a.conn, `{"execute":"peek","id":1}`)
		synctest.Wait()
		const n = 20000
		for i := range n {
			v.bus.Publish(stopped{})
			if i == n/2 {
				fmt.Fprint(a.conn, `{"execute":"peek","id":2}`)
			}
			v.bus.Publish(portChangeUnlimited{i})
		}
		s := v.m.snapshot()[0]
		s.out.mu.Lock()
		if len(s.out.buf) > maxEvents+1000 {
			t.Errorf("%d bytes wait", len(s.out.buf))
		}
		s.out.mu.Unlock()
		release()
		synctest.Wait()
		got := lines(a.take())
		last, responses := -1, 0
		for _, l := range got {
			var m struct {
				ID   int
				Data struct{ N *int }
			}
			if err := json.Unmarshal([]byte(l), &m); err != nil {
				t.Fatalf("%v in %q", err, l)
			}
			if m.ID != 0 {
				if responses++; m.ID != responses {
					t.Errorf("response %d came as the %d.", m.ID, responses)
				}
			}
			if m.Data.N != nil {
				if *m.Data.N <= last {
					t.Fatalf("event %d after %d", *m.Data.N, last)
				}
				last = *m.Data.N
			}
		}
		if responses != 2 || last != n-1 {
			t.Errorf("%d responses, the last event is %d", responses, last)
		}
		_ = a.conn.Close()
	})
}

type portChangeUnlimited struct {
	N int `qmp:"n"`
}

func (portChangeUnlimited) EventName() string { return "TEST" }

// A client that goes away cancels nothing, and disturbs nobody.
func TestDisconnect(t *testing.T) {
	run(t, func(t *testing.T, v *machine) {
		a := v.connect(Options{})
		a.negotiate()
		a.say(`{"execute":"block"}{"execute":"echo","arguments":{"text":"after"}}`)
		_ = a.conn.Close()
		<-a.done
		if n := len(v.m.snapshot()); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		v.held <- struct{}{}
		synctest.Wait()
		if fmt.Sprint(v.log) != "[after]" {
			t.Errorf("what was begun did not go on: %v", v.log)
		}

		b := v.connect(Options{})
		b.negotiate()
		b.say(`{"execute":"later"}{"execute":"peek","arguments":{"text":"b"}}`)
		_ = b.conn.Close()
		<-b.done
		v.pending[0].Return(textResult{"late"})
		synctest.Wait()
		if fmt.Sprint(v.log) != "[after b]" {
			t.Errorf("what was begun did not go on: %v", v.log)
		}
	})
}

// halfClosed is a connection whose input has ended but which still takes output.
type halfClosed struct {
	plainConn
	input io.Reader
}

func (c halfClosed) ReadMsg(p []byte) (int, []int, error) {
	n, err := c.input.Read(p)
	return n, nil, err
}

// What "echo COMMANDS | socat" sends is answered, although its input ends early.
func TestEndOfInput(t *testing.T) {
	run(t, func(t *testing.T, v *machine) {
		c := v.connect(Options{})
		_ = c.conn.Close()
		<-c.done

		a, b := pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.m.ServeConn(halfClosed{plainConn{a}, strings.NewReader(
				`{"execute":"qmp_capabilities"}{"execute":"echo"}{"execute":"peek"}{"execute":"echo"}`)}, Options{})
		}()
		out, err := io.ReadAll(b)
		if err != nil {
			t.Error(err)
		}
		<-done
		if n := len(lines(string(out))); n != 5 {
			t.Errorf("%d lines: %s", n, out)
		}

		// A result that comes later is not waited for long.
		a, b = pipe()
		go func() {
			greeting := len(`{"QMP": {"version": , "capabilities": ["oob"]}}`) + len(v.m.version)
			_, _ = io.ReadFull(b, make([]byte, greeting+len("\r\n"+`{"return": {}}`+"\r\n")))
		}()
		start := time.Now()
		v.m.ServeConn(halfClosed{plainConn{a}, strings.NewReader(`{"execute":"qmp_capabilities"}{"execute":"later"}`)}, Options{})
		if d := time.Since(start); d > 2*lingerTime {
			t.Error("waited", d)
		}
		_ = b.Close()
	})
}

// Close sends what waits, but no longer than it is told to wait.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newMachine()
		a, b := v.connect(Options{}), v.connect(Options{})
		a.negotiate()
		b.negotiate()
		b.hold()
		fmt.Fprint(b.conn, `{"execute":"later"}{"execute":"peek"}`)
		fmt.Fprint(a.conn, `{"execute":"echo","arguments":{"text":"last"}}`)
		start := time.Now()
		v.close()
		if got := a.take(); !strings.Contains(got, "last") {
			t.Errorf("got %q", got)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Error("waited", d)
		}
		<-a.done
		<-b.done
		c := v.connect(Options{})
		<-c.done // no client is served any more
		v.m.Close(context.Background())
		b.mu.Lock()
		close(b.gate)
		b.mu.Unlock()
	})
}

// Commands that come when the lane has ended are answered.
func TestLaneClosed(t *testing.T) {
	run(t, func(t *testing.T, v *machine) {
		a := v.connect(Options{})
		a.negotiate()
		v.lane.Close()
		<-v.lane.Done()
		if got := a.say(`{"execute":"echo","id":1}{"execute":"peek","id":2}`); !strings.Contains(got, "shutting down") || len(lines(got)) != 2 {
			t.Errorf("got %q", got)
		}
		_ = a.conn.Close()
	})
}

// Many limited events that differ do not grow without bound.
func TestLimiterIsBounded(t *testing.T) {
	run(t, func(t *testing.T, v *machine) {
		for i := range 3 * maxLimited {
			v.bus.Publish(portChange{ID: fmt.Sprint(i)})
		}
		v.m.events.mu.Lock()
		if n := len(v.m.events.waiting); n > maxLimited+1 {
			t.Errorf("%d events are told apart", n)
		}
		v.m.events.mu.Unlock()
		time.Sleep(3 * eventInterval)
		v.m.events.mu.Lock()
		if n := len(v.m.events.waiting); n != 0 {
			t.Errorf("%d events still wait", n)
		}
		v.m.events.mu.Unlock()
	})
}

// FuzzSession sends anything to a session that has been negotiated and expects
// that it still answers afterwards.
func FuzzSession(f *testing.F) {
	f.Add([]byte(`{"execute":"echo","arguments":{"text":"x"},"id":[1]}`))
	f.Add([]byte(`{"exec-oob":"peek"}{"execute":"later"}{"execute":"later","arguments":{"text":"now"}}`))
	f.Add([]byte("{\"a\":[}\xff%{'execute':'query-version'}"))
	f.Add([]byte(`{"execute":"repeat","arguments":{"n":-1}}{"execute":"stop"}[[[`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if strings.Contains(string(in), "block") || strings.Contains(string(in), "release") || strings.Contains(string(in), "repeat") {
			return // they do what they say
		}
		run(t, func(t *testing.T, v *machine) {
			a := v.connect(Options{Pretty: len(in)%2 == 1})
			a.negotiate()
			out := a.say(string(in))
			for _, r := range v.pending {
				r.Return(textResult{})
			}
			synctest.Wait()
			out += a.take()
			dec := json.NewDecoder(strings.NewReader(out))
			for {
				var v any
				if err := dec.Decode(&v); err == io.EOF {
					break
				} else if err != nil && !strings.Contains(out, "1e+999") {
					t.Fatalf("%v in %q", err, out)
				} else if err != nil {
					break
				}
			}
			// Whatever was open is dropped by a byte that is no JSON.
			if got := a.say("\xff\n" + `{"execute":"query-version","id":"end"}`); !strings.Contains(got, `"end"`) {
				t.Fatalf("after %q: %q", in, got)
			}
			_ = a.conn.Close()
		})
	})
}
