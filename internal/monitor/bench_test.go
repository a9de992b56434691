package monitor

import (
	"bufio"
	"fmt"
	"testing"
)

// benchmarkRoundTrips measures request and response over a Unix socket, with the
// client in the same process.
func benchmarkRoundTrips(b *testing.B, command string, clients int) {
	v := newMachine()
	defer v.close()
	req := []byte(`{"execute":"` + command + `"}` + "\n")
	work := make(chan int)
	finished := make(chan error)
	for range clients {
		x, y := socketPair(b)
		go v.m.ServeConn(unixConn{x}, Options{})
		r := bufio.NewReader(y)
		if _, err := r.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintln(y, `{"execute":"qmp_capabilities"}`)
		if _, err := r.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
		go func() {
			defer y.Close()
			for n := range work {
				for range n {
					_, err := y.Write(req)
					if err == nil {
						_, err = r.ReadSlice('\n')
					}
					if err != nil {
						finished <- err
						return
					}
				}
				finished <- nil
			}
		}()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range clients {
		work <- (b.N + i) / clients
	}
	for range clients {
		if err := <-finished; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	close(work)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "trips/s")
}

func BenchmarkRoundTripLane(b *testing.B)     { benchmarkRoundTrips(b, "qom-early", 1) }
func BenchmarkRoundTripNoLane(b *testing.B)   { benchmarkRoundTrips(b, "query-version", 1) }
func BenchmarkRoundTripLane16(b *testing.B)   { benchmarkRoundTrips(b, "qom-early", 16) }
func BenchmarkRoundTripNoLane16(b *testing.B) { benchmarkRoundTrips(b, "query-version", 16) }
