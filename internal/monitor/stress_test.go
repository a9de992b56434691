package monitor

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// talk sends n random requests, reading as it goes or only at the end, and
// checks that each in-band one is answered once, in order, and that each
// out-of-band one is answered once. It hangs up early when that is less than n.
func talk(conn net.Conn, rng *rand.Rand, n, early int) error {
	r := bufio.NewReader(conn)
	if _, err := r.ReadSlice('\n'); err != nil {
		return err
	}
	fmt.Fprintln(conn, `{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}`)
	type answer struct {
		ID    *int   `json:"id"`
		Event string `json:"event"`
		Error *struct{ Class string }
	}
	sent := make(chan error, 1)
	go func() {
		for i := range min(n, early) {
			id := 2 * i // even: in band
			var msg string
			switch rng.IntN(8) {
			case 0:
				msg = `{"execute":"peek","arguments":{"text":"x"},"id":%d}`
			case 1:
				msg = `{"execute":"later","arguments":{"text":"now"},"id":%d}`
			case 2:
				msg = `{"execute":"later","id":%d}`
			case 3:
				msg = `{"execute":"nope","id":%d}`
			case 4:
				msg = `{"execute":"stop","id":%d}`
			case 5:
				msg = `{"exec-oob":"peek","id":%d}`
				id++
			case 6:
				msg = `{"execute":"repeat","arguments":{"n":20000},"id":%d}`
			default:
				msg = `{"execute":"echo","arguments":{"text":"x"},"id":%d}`
			}
			if _, err := fmt.Fprintf(conn, msg+"\n", id); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if early < n {
		<-sent
		return nil
	}
	seen := make(map[int]bool)
	last := -1
	for len(seen) < n {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return err
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("%w in %q", err, line)
		}
		if a.ID == nil {
			continue // an event, or the end of the negotiation
		}
		id := *a.ID
		if seen[id] {
			return fmt.Errorf("request %d is answered twice", id)
		}
		seen[id] = true
		if id%2 == 0 {
			if id < last {
				return fmt.Errorf("request %d is answered after %d", id, last)
			}
			last = id
		}
	}
	return <-sent
}

// Clients of all kinds at once, some of which hang up in the middle.
func TestClientsAtRandom(t *testing.T) {
	v := newMachine()
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() { // answers "later"
		for {
			v.mu.Lock()
			pending := v.pending
			v.pending = nil
			v.mu.Unlock()
			for _, p := range pending {
				p.Return(textResult{"late"})
			}
			select {
			case <-stop:
				return
			default:
				_ = v.lane.Do(t.Context(), func() {}) // a turn of the lane
			}
		}
	})
	var served, clients sync.WaitGroup
	for i := range 12 {
		a, b := socketPair(t)
		served.Go(func() { v.m.ServeConn(unixConn{a}, Options{Pretty: false}) })
		clients.Go(func() {
			defer b.Close()
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			n, early := 300, 300
			if i%3 == 0 {
				early = rng.IntN(n)
			}
			if err := talk(b, rng, n, early); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	clients.Wait()
	served.Wait()
	close(stop)
	background.Wait()
	v.close()
}
