package tap

import (
	"bytes"
	"encoding/binary"
	stdnet "net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"govmd/internal/net"
	"govmd/internal/net/nettest"
)

func TestMain(m *testing.M) { os.Exit(nettest.RunInNamespace(m)) }

var (
	guestMAC = stdnet.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	hostIP   = stdnet.IPv4(10, 9, 0, 1).To4()
	guestIP  = stdnet.IPv4(10, 9, 0, 2).To4()
)

// rig is a tap with a card behind it and addresses on both sides.
type rig struct {
	t    *testing.T
	net  *net.Net
	card *nettest.Card
	nic  *net.NIC
	host stdnet.HardwareAddr
	stop chan struct{}
}

func add(n *net.Net, text string) error {
	_, err := nettest.Add(n, text)
	return err
}

func newRig(t *testing.T, options string) *rig {
	t.Helper()
	r := &rig{t: t, net: nettest.New(t), card: nettest.NewCard(), stop: make(chan struct{})}
	if err := add(r.net, "tap,id=t,ifname=t0,"+options); err != nil {
		t.Fatal(err)
	}
	r.nic = &net.NIC{Name: "nic", Card: r.card}
	if err := r.net.Connect(r.nic, "t"); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("t0")
	if err != nil {
		t.Fatal(err)
	}
	r.host = link.Attrs().HardwareAddr
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: &stdnet.IPNet{IP: hostIP, Mask: stdnet.CIDRMask(24, 32)}}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: guestIP, HardwareAddr: guestMAC, State: netlink.NUD_PERMANENT}); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { close(r.stop) })
	t.Cleanup(func() { timer.Stop() })
	return r
}

// frame is a datagram of the guest's.
func (r *rig) frame(port int, payload string) []byte {
	be := binary.BigEndian
	f := append([]byte(nil), r.host...)
	f = append(append(f, guestMAC...), 8, 0)
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	be.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], guestIP)
	copy(ip[16:], hostIP)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(be.Uint16(ip[i:]))
	}
	be.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	f = append(f, ip...)
	f = be.AppendUint16(f, 1234)
	f = be.AppendUint16(f, uint16(port))
	f = be.AppendUint16(f, uint16(8+len(payload)))
	f = append(f, 0, 0)
	return append(f, payload...)
}

// listen returns a socket of the host's and its port.
func (r *rig) listen() (*stdnet.UDPConn, int) {
	r.t.Helper()
	c, err := stdnet.ListenUDP("udp4", &stdnet.UDPAddr{IP: hostIP})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	return c, c.LocalAddr().(*stdnet.UDPAddr).Port
}

// next returns the next frame for the guest that holds text; the host sends others, too.
func (r *rig) next(text string) []byte {
	r.t.Helper()
	for {
		f := r.card.Next(r.stop)
		if f == nil {
			r.t.Fatalf("no frame with %q", text)
		}
		if bytes.Contains(f, []byte(text)) {
			return f
		}
	}
}

// Frames pass both ways, whether or not they have a header on either side.
func TestFrames(t *testing.T) {
	for _, tc := range []struct {
		options string
		header  int
	}{{"vnet_hdr=off", 0}, {"vnet_hdr=on", 0}, {"vnet_hdr=on", 10}, {"vnet_hdr=on", 12}} {
		r := newRig(t, tc.options)
		r.nic.Link.SetHeader(tc.header, net.OffloadChecksum)
		if r.nic.Link.HasHeader() != (tc.options == "vnet_hdr=on") {
			t.Errorf("%s: headers %v", tc.options, r.nic.Link.HasHeader())
		}
		host, port := r.listen()
		f := r.frame(port, "from the guest")
		if !r.nic.Link.Send(0, [][]byte{make([]byte, tc.header), f[:20], f[20:]}) {
			t.Error("the frame is not taken")
		}
		p := make([]byte, 100)
		if n, _, err := host.ReadFrom(p); err != nil || string(p[:n]) != "from the guest" {
			t.Errorf("%+v: %q, %v", tc, p[:n], err)
		}
		if _, err := host.WriteTo([]byte("from the host"), &stdnet.UDPAddr{IP: guestIP, Port: 99}); err != nil {
			t.Fatal(err)
		}
		if got := r.next("from the host"); !bytes.Equal(got[tc.header:tc.header+6], guestMAC) {
			t.Errorf("%+v: the frame is % x", tc, got)
		}
		r.net.Remove(r.net.Netdev("t"))
		if _, err := netlink.LinkByName("t0"); err == nil {
			t.Error("the tap is still there")
		}
	}
}

// A card without room gets its frames when it has some.
func TestRoom(t *testing.T) {
	r := newRig(t, "vnet_hdr=off")
	host, _ := r.listen()
	r.card.SetRoom(0)
	for range 10 {
		if _, err := host.WriteTo([]byte("later"), &stdnet.UDPAddr{IP: guestIP, Port: 99}); err != nil {
			t.Fatal(err)
		}
	}
	r.card.SetRoom(-1)
	r.nic.Link.WakeBackend(0)
	for range 10 {
		r.next("later")
	}
}

func TestBridge(t *testing.T) {
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br9", MTU: 1400}}
	if err := netlink.LinkAdd(br); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(br) })
	newRig(t, "br=br9")
	link, err := netlink.LinkByName("t0")
	if err != nil {
		t.Fatal(err)
	}
	if a := link.Attrs(); a.MasterIndex != br.Attrs().Index || a.MTU != 1400 || a.Flags&stdnet.FlagUp == 0 {
		t.Errorf("the tap is %+v", a)
	}
}

func TestScripts(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "s")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho $0 $1 >>"+dir+"/log\nip link set $1 up 2>/dev/null || true\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	n := nettest.New(t)
	if err := add(n, "tap,id=t,ifname=t7,script="+script+",downscript="+script); err != nil {
		t.Fatal(err)
	}
	n.Remove(n.Netdev("t"))
	log, _ := os.ReadFile(dir + "/log")
	if want := script + " t7\n"; string(log) != want+want {
		t.Errorf("the scripts say %q", log)
	}
	if err := add(n, "tap,id=t,script=/bin/false"); err == nil || !strings.Contains(err.Error(), "network script /bin/false failed") {
		t.Error(err)
	}
}

// Descriptors of taps that somebody else has opened are used, others refused.
func TestDescriptors(t *testing.T) {
	d, err := create("t5", 2, true)
	if err != nil {
		t.Fatal(err)
	}
	n := nettest.New(t)
	o := &Options{}
	names := itoa(d.files[0]) + ":" + itoa(d.files[1])
	o.FDs = &names
	b, err := open(&net.Opened{Net: n}, o)
	if err != nil {
		t.Fatal(err)
	}
	if b.Queues() != 2 || !b.HasHeader() {
		t.Errorf("%d queues, headers %v", b.Queues(), b.HasHeader())
	}
	b.Close()
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := add(n, "tap,id=t,fd="+itoa(null)); err == nil || !strings.Contains(err.Error(), "is no tap device") {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	n := nettest.New(t)
	busy, err := create("busy0", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.close()
	for options, want := range map[string]string{
		"fd=3,ifname=x":                "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= are invalid with fd=",
		"fds=3:4,queues=2":             "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, and vhostfd= are invalid with fds=",
		"ifname=much-too-long-a-name0": "Parameter 'ifname' expects a name of at most 15 bytes",
		"ifname=busy0":                 "somebody uses the tap",
		"br=nobridge,script=no":        "bridge 'nobridge': Link not found",
		"vhost=on":                     "Parameter 'vhost' is not supported yet",
		"queues=0":                     "Parameter 'queues' expects a number between 1 and 256",
		"helper=/x":                    "Parameter 'helper' is not supported",
	} {
		if err := add(n, "tap,id=t,"+options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
	if links, err := netlink.LinkList(); err != nil || len(links) != 2 { // lo, busy0
		t.Errorf("left behind: %v %v", links, err)
	}
}

// A frame costs no allocation in either direction.
func TestAllocations(t *testing.T) {
	r := newRig(t, "vnet_hdr=on")
	f := [][]byte{r.frame(9, "nobody listens")}
	if n := testing.AllocsPerRun(1000, func() { r.nic.Link.Send(0, f) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
