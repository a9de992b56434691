// Package network has the whole-system tests of network cards and their back ends: a
// stock kernel on a tap on a bridge, while links go down and back ends are exchanged.
package network

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"govmd/test/guest"
	"govmd/test/initramfs"
	"govmd/test/vmtest"
)

var (
	kernel    *initramfs.Kernel
	guestPath string
)

func TestMain(m *testing.M) {
	os.Exit(vmtest.RunWithGuest(m, &kernel, &guestPath, "virtio_net"))
}

type args = map[string]any

const (
	bridge   = "br0"
	hostIP   = "10.8.0.1"
	guestNet = "10.8.0.2/24"
)

// makeBridge makes a bridge with an address.
func makeBridge(t *testing.T) {
	t.Helper()
	for _, module := range []string{"tun", "bridge"} {
		if out, err := exec.Command("modprobe", module).CombinedOutput(); err != nil {
			t.Fatalf("modprobe %s: %s", module, out)
		}
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
	addr, err := netlink.ParseAddr(hostIP + "/24")
	for _, step := range []func() error{
		func() error { return err },
		func() error { return netlink.LinkAdd(br) },
		func() error { return netlink.AddrAdd(br, addr) },
		func() error { return netlink.LinkSetUp(br) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = netlink.LinkDel(br) })
}

// serve has the host serve random bytes and returns where, and their sum.
func serve(t *testing.T, size int) (url, sum string) {
	t.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	l, err := net.Listen("tcp", hostIP+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	digest := md5.Sum(data)
	return fmt.Sprintf("http://%s/", l.Addr()), hex.EncodeToString(digest[:])
}

// A guest behind a tap on a bridge talks to the host, keeps a transfer through a cable
// that is out and a machine that is stopped, and goes on with another back end.
func TestTapOnBridge(t *testing.T) {
	vmtest.NeedKVM(t)
	for machine, card := range map[string]string{"pc": "virtio-net-pci", "microvm": "virtio-net-device"} {
		t.Run(machine, func(t *testing.T) {
			makeBridge(t)
			url, sum := serve(t, 4<<20)
			vm := vmtest.Start(t, vmtest.Options{Args: []string{
				"-M", machine, "-accel", "kvm", "-cpu", "host,-xsave", "-m", "256", "-no-reboot",
				"-kernel", kernel.ELF(), "-initrd", guestPath, "-append", "console=ttyS0 panic=-1 quiet",
				"-netdev", "tap,id=n0,br=" + bridge, "-device", card + ",netdev=n0,id=nic,mac=52:54:00:aa:bb:cc",
			}})
			vm.Expect(guest.Ready)
			vm.Expect(guest.Prompt)
			if mac := vm.Sh("cat /sys/class/net/eth0/address"); mac != "52:54:00:aa:bb:cc" {
				t.Errorf("the address is %s", mac)
			}
			vm.Sh("ip link set eth0 up && ip addr add " + guestNet + " dev eth0 && ping -c 2 -W 10 " + hostIP)
			vm.Begin("wget -q -O - " + url + " | md5sum")
			vm.Execute("set_link", args{"name": "nic", "up": false}, nil)
			vm.Execute("set_link", args{"name": "nic", "up": true}, nil)
			vm.Execute("stop", nil, nil)
			vm.Execute("cont", nil, nil)
			if got := vm.End(); !strings.HasPrefix(got, sum) {
				t.Errorf("what has come has the sum %s, want %s", got, sum)
			}
			vm.Execute("netdev_del", args{"id": "n0"}, nil)
			vm.Sh("while [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done")
			vm.Execute("netdev_add", args{"type": "tap", "id": "n0", "br": bridge, "vnet_hdr": false}, nil)
			vm.Sh("while [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.1; done")
			if got := vm.Sh("wget -q -O - " + url + " | md5sum"); !strings.HasPrefix(got, sum) {
				t.Errorf("with another back end: %s, want %s", got, sum)
			}
			vm.Execute("quit", nil, nil)
			vm.ExpectExit(0)
		})
	}
}
