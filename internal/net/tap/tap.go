// Package tap is the network back end "tap": a network interface of the host's whose
// other end is the guest's card.
package tap

import (
	"context"
	"fmt"
	"os/exec"

	"golang.org/x/sys/unix"

	"govmd/internal/net"
	"govmd/internal/qmp"
)

// Tap is the back end.
type Tap struct {
	device     *device
	given      string // the descriptors that were passed, for `info network`
	downscript string
	script     string
	queues     []*queue
	length     int // of the header that the link's frames have
}

// open opens a tap as options say.
func open(o *net.Opened, opts *Options) (net.Backend, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	t := &Tap{script: script(opts.Script), downscript: script(opts.Downscript)}
	var err error
	if names := opts.descriptors(); names != nil {
		err = t.take(o, names)
	} else {
		err = t.create(o.Ctx, opts)
	}
	if err != nil {
		return nil, err
	}
	if opts.Sndbuf != nil {
		for _, fd := range t.device.files {
			if err := unix.IoctlSetPointerInt(fd, unix.TUNSETSNDBUF, int(min(*opts.Sndbuf, 1<<31-1))); err != nil {
				t.device.close()
				return nil, fmt.Errorf("TUNSETSNDBUF ioctl failed: %s", qmp.Strerror(err))
			}
		}
	}
	if t.device.headers {
		t.device.setHeader(net.HeaderLegacy, 0)
	}
	for i, fd := range t.device.files {
		q, err := newQueue(t, i, fd)
		if err != nil {
			t.device.close()
			return nil, err
		}
		t.queues = append(t.queues, q)
	}
	return t, nil
}

// take uses descriptors that a client has passed, or of the command line.
func (t *Tap) take(o *net.Opened, names []string) error {
	var files []int
	for _, name := range names {
		fd, err := o.FD(name)
		if err != nil {
			for _, fd := range files {
				_ = unix.Close(fd)
			}
			return err
		}
		files = append(files, fd)
	}
	var err error
	t.device, err = adopt(files)
	t.given = fmt.Sprintf("fd=%d", files[0])
	return err
}

func (t *Tap) create(ctx context.Context, opts *Options) error {
	name, queues := "", 1
	if opts.Ifname != nil {
		name = *opts.Ifname
	}
	if opts.Queues != nil {
		queues = int(*opts.Queues)
	}
	d, err := create(name, queues, opts.VnetHdr == nil || *opts.VnetHdr)
	if err != nil {
		return err
	}
	if opts.VnetHdr != nil && *opts.VnetHdr && !d.headers {
		d.close()
		return qmp.Errorf("vnet_hdr=1 requested, but no kernel support for IFF_VNET_HDR available")
	}
	bridge := ""
	if opts.Bridge != nil {
		bridge = *opts.Bridge
	}
	switch {
	case t.script != "":
		err = run(ctx, t.script, d.name)
	case bridge != "" || !d.isUp():
		err = d.setUp(bridge)
	}
	if err != nil {
		d.close()
		return err
	}
	t.device = d
	return nil
}

// run runs a script with the name of the interface, as those for QEMU expect it.
func run(ctx context.Context, script, name string) error {
	out, err := exec.CommandContext(ctx, script, name).CombinedOutput()
	if err != nil {
		return qmp.Errorf("network script %s failed: %v: %.200s", script, err, out)
	}
	return nil
}

// Type implements net.Backend.
func (*Tap) Type() string { return "tap" }

// Info implements net.Backend.
func (t *Tap) Info() string {
	if t.given != "" {
		return t.given
	}
	name := func(s string) string {
		if s == "" {
			return "no"
		}
		return s
	}
	return fmt.Sprintf("ifname=%s,script=%s,downscript=%s", t.device.name, name(t.script), name(t.downscript))
}

// Queues implements net.Backend.
func (t *Tap) Queues() int { return len(t.queues) }

// HasHeader implements net.Backend.
func (t *Tap) HasHeader() bool { return t.device.headers }

// SetHeader implements net.Backend.
func (t *Tap) SetHeader(length int, takes net.Offloads) {
	for _, q := range t.queues {
		q.in.Lock() // no frame is being read
		defer q.in.Unlock()
	}
	if t.length = length; !t.device.headers {
		return
	}
	if length == 0 {
		length, takes = net.HeaderLegacy, 0 // the tap's frames have one all the same
	}
	t.device.setHeader(length, takes)
}

// Start implements net.Backend.
func (t *Tap) Start(l *net.Link) {
	for _, q := range t.queues {
		q.start(l)
	}
}

// Send implements net.Backend.
func (t *Tap) Send(queue int, frame [][]byte) bool { return t.queues[queue%len(t.queues)].send(frame) }

// Wake implements net.Backend.
func (t *Tap) Wake(queue int) { t.queues[queue%len(t.queues)].wake() }

// Close implements net.Backend.
func (t *Tap) Close() {
	if t.downscript != "" {
		_ = run(context.Background(), t.downscript, t.device.name) // there is nobody to tell
	}
	for _, q := range t.queues {
		q.close()
	}
}
