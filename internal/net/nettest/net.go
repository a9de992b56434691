package nettest

import (
	"testing"

	"govmd/internal/lane"
	"govmd/internal/net"
)

// New returns a machine's Net with a lane of its own, which ends with the test.
func New(t testing.TB) *net.Net {
	t.Helper()
	l := lane.New()
	go l.Run()
	n := net.New(net.Env{Lane: l})
	t.Cleanup(func() {
		n.Stop()
		n.Close()
		l.Close()
		<-l.Done()
	})
	return n
}

// Add opens a back end, as option text has it.
func Add(n *net.Net, text string) (*net.Netdev, error) {
	o, err := net.Parse(text)
	if err != nil {
		return nil, err
	}
	return n.Add(o)
}
