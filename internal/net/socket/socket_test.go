package socket

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	vnet "govmd/internal/net"
	"govmd/internal/net/nettest"
)

// end is a back end with a card, by its own Net.
func end(t *testing.T, options string) (*vnet.NIC, *nettest.Card) {
	t.Helper()
	n := nettest.New(t)
	if _, err := nettest.Add(n, options); err != nil {
		t.Fatal(err)
	}
	c := nettest.NewCard()
	nic := &vnet.NIC{Name: "nic", Card: c}
	if err := n.Connect(nic, "s"); err != nil {
		t.Fatal(err)
	}
	return nic, c
}

// Two machines are joined by a connection.
func TestTwoEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	at := ",addr.type=unix,addr.path=" + path
	server, serverCard := end(t, "stream,id=s,server=on"+at)
	client, clientCard := end(t, "stream,id=s"+at)
	if !client.Link.Send(0, [][]byte{[]byte("from "), []byte("the client")}) {
		t.Error("a frame is not taken")
	}
	if got := string(serverCard.Next(nil)); got != "from the client" {
		t.Errorf("%q", got)
	}
	server.Link.Send(0, [][]byte{[]byte("from the server")})
	if got := string(clientCard.Next(nil)); got != "from the server" {
		t.Errorf("%q", got)
	}
}

// peer connects to a server as a program of the world's.
func peer(t *testing.T) (nic *vnet.NIC, card *nettest.Card, conn net.Conn, again func() net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	nic, card = end(t, "stream,id=s,server=on,addr.type=unix,addr.path="+path)
	again = func() net.Conn {
		t.Helper()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	return nic, card, again(), again
}

func framed(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

// A peer that does not read keeps the card waiting, not the machine; when it reads, all
// that was taken comes.
func TestPeerThatDoesNotRead(t *testing.T) {
	nic, card, conn, _ := peer(t)
	if _, err := conn.Write(framed("here")); err != nil { // it is served
		t.Fatal(err)
	}
	card.Next(nil)
	frame := [][]byte{bytes.Repeat([]byte{7}, 60000)}
	taken := 0
	for nic.Link.Send(0, frame) {
		if taken++; taken > 1000 {
			t.Fatal("a peer that does not read is sent frames without end")
		}
	}
	got := make([]byte, 4+60000)
	for range taken {
		if _, err := io.ReadFull(conn, got); err != nil || binary.BigEndian.Uint32(got) != 60000 || got[4] != 7 {
			t.Fatalf("% x, %v", got[:8], err)
		}
	}
	<-card.Wakes()
}

// A card without room keeps the peer waiting.
func TestCardWithoutRoom(t *testing.T) {
	nic, card, conn, _ := peer(t)
	card.SetRoom(0)
	if _, err := conn.Write(append(framed("one"), framed("two")...)); err != nil {
		t.Fatal(err)
	}
	card.SetRoom(-1)
	nic.Link.WakeBackend(0)
	if got := string(card.Next(nil)) + string(card.Next(nil)); got != "onetwo" {
		t.Errorf("%q", got)
	}
}

// A peer that sends no frames is sent away, and the next is served.
func TestHostilePeer(t *testing.T) {
	_, card, conn, again := peer(t)
	if _, err := conn.Write([]byte("\xff\xff\xff\xffgarbage")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("it is still connected")
	}
	if _, err := again().Write(framed("good")); err != nil {
		t.Fatal(err)
	}
	if got := string(card.Next(nil)); got != "good" {
		t.Errorf("%q", got)
	}
}

func TestOptions(t *testing.T) {
	n := nettest.New(t)
	for options, want := range map[string]string{
		"socket,id=s": "exactly one of listen=, connect=, mcast= or udp= is required",
		"socket,id=s,listen=127.0.0.1:0,connect=127.0.0.1:1": "exactly one of",
		"socket,id=s,listen=nowhere":                         "doesn't contain ':'",
		"socket,id=s,mcast=230.0.0.1:1":                      "'mcast' is not supported",
		"socket,id=s,connect=127.0.0.1:1":                    "Connection refused",
		"stream,id=s,addr.type=unix,addr.path=/nonexistent":  "No such file or directory",
		"stream,id=s": "Parameter 'addr' is missing",
	} {
		if _, err := nettest.Add(n, options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
	if _, err := nettest.Add(n, "socket,id=s,listen=127.0.0.1:0"); err != nil {
		t.Error(err)
	}
}

// A frame costs no allocation.
func TestAllocations(t *testing.T) {
	nic, card, conn, _ := peer(t)
	if _, err := conn.Write(framed("here")); err != nil {
		t.Fatal(err)
	}
	card.Next(nil)
	go io.Copy(io.Discard, conn)
	frame := [][]byte{make([]byte, 1500)}
	for range 1000 {
		nic.Link.Send(0, frame) // both buffers are there
	}
	if n := testing.AllocsPerRun(1000, func() { nic.Link.Send(0, frame) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
