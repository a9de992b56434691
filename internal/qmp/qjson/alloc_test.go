//go:build !race

package qjson

import "testing"

// Under the race detector sync.Pool drops objects on purpose.
func TestScanDoesNotAllocate(t *testing.T) {
	var r Reader
	msg := []byte(`{"execute":"query-status","arguments":{"x":1,"y":"\u00e9"},"id":12}`)
	out := make([]byte, 0, 1024)
	avg := testing.AllocsPerRun(100, func() {
		_, doc, _ := r.Scan(msg)
		out = doc.Root().Append(out[:0])
		doc.Release()
	})
	if avg > 0.5 { // a collection may empty the pool once
		t.Errorf("%v allocations a message", avg)
	}
}
