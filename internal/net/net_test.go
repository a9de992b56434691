package net_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"govmd/internal/net"
	"govmd/internal/net/nettest"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

func add(t *testing.T, n *net.Net, text string) *net.Netdev {
	t.Helper()
	d, err := nettest.Add(n, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func connect(t *testing.T, n *net.Net, name, id string) (*nettest.Card, *net.NIC) {
	t.Helper()
	c := nettest.NewCard()
	nic := &net.NIC{Name: name, Model: "fake", Card: c}
	if err := n.Connect(nic, id); err != nil {
		t.Fatal(err)
	}
	return c, nic
}

// run carries out a command and returns its result or error.
func run(t *testing.T, n *net.Net, name, args string) string {
	t.Helper()
	doc, err := qjson.Parse([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range n.Commands() {
		if c.Name() == name {
			p, err := c.Call(&qmp.Context{Context: context.Background()}, doc.Root(), qmp.JSON, nil)
			if err != nil {
				return err.Error()
			}
			return string(p)
		}
	}
	t.Fatal("no command ", name)
	return ""
}

func frame(s string) [][]byte { return [][]byte{[]byte(s[:1]), []byte(s[1:])} }

func TestFramesPass(t *testing.T) {
	n := nettest.New(t)
	add(t, n, "test,id=a")
	card, nic := connect(t, n, "nic", "a")
	back := nettest.Made("a")
	if !nic.Link.Send(0, frame("out")) || !back.On.Deliver(0, 0, frame("in")) {
		t.Fatal("a frame was not taken")
	}
	if got := string(back.Next(nil)) + string(card.Next(nil)); got != "outin" {
		t.Errorf("the frames are %q", got)
	}
	card.SetRoom(0)
	if back.On.Deliver(0, 0, frame("in")) {
		t.Error("a card without room has taken a frame")
	}
	nic.Link.WakeBackend(3)
	if q := <-back.Wakes(); q != 0 { // when it came
		t.Errorf("queue %d was woken", q)
	}
	if q := <-back.Wakes(); q != 3 {
		t.Errorf("queue %d was woken", q)
	}
	// Without taps nothing is allocated.
	card.SetRoom(0)
	f := frame("in")
	if a := testing.AllocsPerRun(100, func() { back.On.Deliver(0, 0, f) }); a != 0 {
		t.Errorf("%v allocations a frame", a)
	}
}

func TestSetLink(t *testing.T) {
	n := nettest.New(t)
	add(t, n, "test,id=a")
	card, nic := connect(t, n, "nic", "a")
	back := nettest.Made("a")
	for _, name := range []string{"nic", "a"} {
		card.Link = nil
		run(t, n, "set_link", `{"name":"`+name+`","up":false}`)
		run(t, n, "set_link", `{"name":"`+name+`","up":false}`)
		if !nic.Link.Send(0, frame("out")) || !back.On.Deliver(0, 0, frame("in")) || back.Count()+card.Count() > 0 {
			t.Error("a frame has passed where the cable is out")
		}
		run(t, n, "set_link", `{"name":"`+name+`","up":true}`)
		if !slices.Equal(card.Link, []bool{false, true}) {
			t.Errorf("%s: the card is told %v", name, card.Link)
		}
	}
	if s, r := nic.Link.Dropped(); s != 2 || r != 2 {
		t.Errorf("dropped: %d, %d", s, r)
	}
	if got := run(t, n, "set_link", `{"name":"no","up":true}`); got != "Device 'no' not found" {
		t.Error(got)
	}
}

// A back end comes and goes while the card lives.
func TestSwap(t *testing.T) {
	n := nettest.New(t)
	add(t, n, "test,id=a")
	card, nic := connect(t, n, "nic", "a")
	first := nettest.Made("a")
	run(t, n, "netdev_del", `{"id":"a"}`)
	if !first.Closed || nic.Link.Up() || card.Swaps != 1 || !slices.Equal(card.Link, []bool{false}) {
		t.Errorf("closed %v, up %v, %d swaps, told %v", first.Closed, nic.Link.Up(), card.Swaps, card.Link)
	}
	if !nic.Link.Send(0, frame("out")) {
		t.Error("a frame without a way was not dropped")
	}
	add(t, n, "test,id=a,headers=on")
	if card.Swaps != 2 || !nic.Link.Up() || !nic.Link.HasHeader() {
		t.Error("the card has not got its new back end")
	}
	nic.Link.SetHeader(net.HeaderNumbers, net.OffloadChecksum)
	if nettest.Made("a").Length != 12 || nettest.Made("a").Takes != net.OffloadChecksum {
		t.Errorf("the header: %+v", nettest.Made("a"))
	}
	nic.Link.Send(0, frame("out"))
	if first.Count() > 0 || string(nettest.Made("a").Next(nil)) != "out" {
		t.Error("the frame went elsewhere")
	}
	n.Disconnect(nic)
	if nettest.Made("a").Length != 0 || !nettest.Made("a").On.Deliver(0, 0, frame("in")) || card.Count() > 0 {
		t.Error("a card that has gone gets frames")
	}
}

func TestErrors(t *testing.T) {
	n := nettest.New(t)
	add(t, n, "test,id=a")
	connect(t, n, "nic", "a")
	for id, want := range map[string]string{
		"no": "Property 'fake.netdev' can't find value 'no'",
		"a":  "Property 'fake.netdev' can't take value 'a', it's in use",
	} {
		if err := n.Connect(&net.NIC{Model: "fake", Card: nettest.NewCard()}, id); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for text, want := range map[string]string{
		"zork,id=b":     "Parameter 'type' does not accept value 'zork'",
		"vde,id=b":      "Parameter 'type' does not accept value 'vde': network back ends of this type are not supported",
		"test":          "Parameter 'id' is missing",
		"test,id=9":     "Parameter 'id' expects an identifier",
		"test,id=a":     "Duplicate ID 'a'",
		"test,id=b,x=1": "Parameter 'x' is unexpected",
	} {
		if _, err := nettest.Add(n, text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for args, want := range map[string]string{
		`{"name":"no"}`:  "invalid net client name: no",
		`{"name":"a"}`:   "net client(a) isn't a NIC",
		`{"name":"nic"}`: "net client(nic) doesn't support rx-filter querying",
		`{}`:             "[]",
	} {
		if got := run(t, n, "query-rx-filter", args); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}

func TestAnnounce(t *testing.T) {
	n := nettest.New(t)
	card, _ := connect(t, n, "nic", "")
	other, _ := connect(t, n, "other", "")
	if got := run(t, n, "announce-self", `{"initial":0,"max":0,"rounds":1,"step":0,"interfaces":["nic"]}`); got != "{}" {
		t.Error(got)
	}
	if card.Told != 1 || other.Told != 0 {
		t.Errorf("told %d and %d times", card.Told, other.Told)
	}
	if got := run(t, n, "announce-self", `{"initial":-1,"max":0,"rounds":1,"step":0}`); !strings.Contains(got, "announce-initial") {
		t.Error(got)
	}
}

func TestInfo(t *testing.T) {
	n := nettest.New(t)
	add(t, n, "test,id=b")
	add(t, n, "test,id=a")
	connect(t, n, "", "a")
	connect(t, n, "nic", "")
	var out bytes.Buffer
	_ = n.InfoCommands()[0].Run(nil, nil, &out)
	want := "b: index=0,type=test,fake\n" +
		"fake.0: index=0,type=nic,model=fake,macaddr=00:00:00:00:00:00\n \\ a: index=0,type=test,fake\n" +
		"nic: index=0,type=nic,model=fake,macaddr=00:00:00:00:00:00\n"
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
}

func TestMAC(t *testing.T) {
	n := nettest.New(t)
	for _, want := range []string{"52:54:00:12:34:56", "52:54:00:12:34:57"} {
		m := n.NewMAC()
		if m.String() != want {
			t.Errorf("%s, want %s", m, want)
		}
		n.TakeMAC(m)
	}
	for text, ok := range map[string]bool{
		"52:54:00:12:34:56": true, "52-54-0-12-34-ff": true, "": false, "52:54:00:12:34": false, "52:54:00:12:34:100": false, "52:54:00:12:34:5g": false,
	} {
		if _, err := net.ParseMAC(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
