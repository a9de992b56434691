package tap

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"govmd/internal/net"
	"govmd/internal/qmp"
)

// device is a tap device of the kernel's, with a file for each pair of queues.
type device struct {
	name    string
	files   []int
	headers bool // frames begin with a virtio-net header
}

func (d *device) close() {
	for _, fd := range d.files {
		_ = unix.Close(fd)
	}
}

// node is where the kernel gives out taps.
const node = "/dev/net/tun"

// create makes a tap, or takes one that is there, with so many queues.
func create(name string, queues int, headers bool) (_ *device, err error) {
	d := &device{name: name}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	for i := range queues {
		fd, err := unix.Open(node, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("could not open %s: %s", node, qmp.Strerror(err))
		}
		d.files = append(d.files, fd)
		if i == 0 && headers {
			features, err := ioctlGet(fd, unix.TUNGETFEATURES)
			d.headers = err == nil && features&unix.IFF_VNET_HDR != 0
		}
		if err := d.claim(fd, queues > 1); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// claim has the file of a queue be one of the device.
func (d *device) claim(fd int, many bool) error {
	req, err := unix.NewIfreq(d.name)
	if err != nil {
		return qmp.Errorf("Parameter 'ifname' expects a name of at most %d bytes", unix.IFNAMSIZ-1)
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if d.headers {
		flags |= unix.IFF_VNET_HDR
	}
	if many {
		flags |= unix.IFF_MULTI_QUEUE
	}
	req.SetUint16(flags)
	err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("could not configure %s (%s): %s: it takes the capability CAP_NET_ADMIN, or a tap that belongs to the user; "+
			"or pass a descriptor by fd=", node, d.name, qmp.Strerror(err))
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("could not configure %s (%s): %s: somebody uses the tap, or it has another number of queues", node, d.name, qmp.Strerror(err))
	case err != nil:
		return fmt.Errorf("could not configure %s (%s): %s", node, d.name, qmp.Strerror(err))
	}
	d.name = req.Name()
	return nil
}

// adopt takes files that somebody else has opened. They are closed with the device,
// and at once after an error.
func adopt(files []int) (d *device, err error) {
	d = &device{files: files}
	for i, fd := range files {
		req, err := unix.NewIfreq("")
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.TUNGETIFF, req)
		}
		if err != nil || req.Uint16()&unix.IFF_TAP == 0 {
			d.close()
			return nil, qmp.Errorf("File descriptor %d is no tap device", fd)
		}
		headers := req.Uint16()&unix.IFF_VNET_HDR != 0
		if i > 0 && (headers != d.headers || req.Name() != d.name) {
			d.close()
			return nil, qmp.Errorf("The file descriptors are not of one tap device")
		}
		d.headers, d.name = headers, req.Name()
		if err := unix.SetNonblock(fd, true); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

// setUp brings the interface up and, unless bridge is "", into a bridge.
func (d *device) setUp(bridge string) error {
	link, err := netlink.LinkByName(d.name)
	if err != nil {
		return fmt.Errorf("network interface '%s': %w", d.name, err)
	}
	if bridge != "" {
		br, err := netlink.LinkByName(bridge)
		if err != nil {
			return fmt.Errorf("bridge '%s': %w", bridge, err)
		}
		if br.Attrs().MTU > 0 && br.Attrs().MTU != link.Attrs().MTU {
			_ = netlink.LinkSetMTU(link, br.Attrs().MTU) // else the bridge takes ours
		}
		if err := netlink.LinkSetMaster(link, br); err != nil {
			return fmt.Errorf("bridge '%s' does not take '%s': %w", bridge, d.name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("network interface '%s' cannot be brought up: %w", d.name, err)
	}
	return nil
}

// isUp reports whether the interface is up already, as one of another's making may be
// for a user who could not bring it up.
func (d *device) isUp() bool {
	p, err := os.ReadFile("/sys/class/net/" + d.name + "/flags")
	if err != nil {
		return false
	}
	flags, err := strconv.ParseUint(string(p[:max(len(p)-1, 0)]), 0, 32)
	return err == nil && flags&unix.IFF_UP != 0
}

// setHeader says how long the header of frames is, and what the guest takes.
func (d *device) setHeader(length int, takes net.Offloads) {
	flags := 0
	for bit, flag := range map[net.Offloads]int{
		net.OffloadChecksum: unix.TUN_F_CSUM, net.OffloadTSO4: unix.TUN_F_TSO4, net.OffloadTSO6: unix.TUN_F_TSO6,
		net.OffloadECN: unix.TUN_F_TSO_ECN, net.OffloadUFO: unix.TUN_F_UFO,
	} {
		if takes&bit != 0 {
			flags |= flag
		}
	}
	for _, fd := range d.files {
		_ = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, length) // the kernel knows these lengths
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, flags) != nil {
			_ = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, flags&^unix.TUN_F_UFO) // kernels before 6.2
		}
	}
}

func ioctlGet(fd int, req uint) (uint32, error) { return unix.IoctlGetUint32(fd, req) }
