// Package vnet is virtio-net, the network card (virtio 1.2, section 5.1).
package vnet

import (
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/nic"
	"govmd/internal/device/virtio"
	"govmd/internal/net"
	"govmd/internal/object"
)

const deviceID = 1

// Features of the device (5.1.3).
const (
	featureChecksum      = 0 // the driver may leave checksums to us
	featureGuestChecksum = 1 // and we to the driver
	featureCtrlOffloads  = 2
	featureMTU           = 3
	featureMAC           = 5
	featureGSO           = 6 // legacy: any of the host's segmentation
	featureGuestTSO4     = 7
	featureGuestTSO6     = 8
	featureGuestECN      = 9
	featureGuestUFO      = 10
	featureHostTSO4      = 11
	featureHostTSO6      = 12
	featureHostECN       = 13
	featureHostUFO       = 14
	featureMergeable     = 15
	featureStatus        = 16
	featureCtrlQueue     = 17
	featureCtrlRx        = 18
	featureCtrlVLAN      = 19
	featureCtrlRxExtra   = 20
	featureAnnounce      = 21
	featureMQ            = 22
	featureCtrlMAC       = 23
	featureSpeedDuplex   = 63
)

// offloadFeatures are those that take a virtio-net header all the way.
const offloadFeatures = 1<<featureChecksum | 1<<featureGuestChecksum | 1<<featureGSO |
	1<<featureGuestTSO4 | 1<<featureGuestTSO6 | 1<<featureGuestECN | 1<<featureGuestUFO |
	1<<featureHostTSO4 | 1<<featureHostTSO6 | 1<<featureHostECN | 1<<featureHostUFO

// maxPairs bounds how many pairs of queues there are.
const maxPairs = 64

// Device is the card.
type Device struct {
	virtio.Core

	// properties
	conf    nic.Conf
	chosen  uint64 // features that properties switch
	rxSize  uint16
	txSize  uint16
	hostMTU uint16
	speed   int32
	duplex  string
	txTimer string

	nic   *net.NIC
	pairs []*pair
	ctrl  *control
	tells bool // the next change of the filter is announced; guarded by the worker's being excluded

	mu     sync.Mutex // guards what follows: the configuration space
	mac    net.MAC
	status uint16

	now driven // of the worker's
}

// driven is what the driver has set by commands. It belongs to the queues' handlers,
// and to who excludes them.
type driven struct {
	filter filter
	header int // of the link's frames
	pairs  int
	// switched: the driver has said by command which offloads it takes; else it takes
	// what it has negotiated.
	switched bool
	offloads net.Offloads
}

var duplexes = map[string]byte{"": 0xff, "half": 0, "full": 1}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if err := d.check(); err != nil {
		return err
	}
	var err error
	if d.nic, err = d.conf.Connect(&d.Base, d.model(), card{d}); err != nil {
		return err
	}
	d.mac, d.status = d.conf.MAC, 0
	if d.nic.Link.Up() || d.conf.Netdev == "" {
		d.status = statusUp
	}
	n := min(d.nic.Link.Queues(), maxPairs)
	if err := d.Init(virtio.Info{ID: deviceID, Features: d.features(n), ConfigSize: d.configSize()}); err != nil {
		return err
	}
	d.pairs = nil
	for i := range n {
		p := &pair{d: d, index: i}
		p.receive = p.take
		p.rx = d.AddQueue(d.rxSize, d.serve(2*i))
		p.tx = d.AddQueue(d.txSize, d.serve(2*i+1))
		d.pairs = append(d.pairs, p)
	}
	d.ctrl = &control{d: d}
	d.AddQueue(controlSize, d.serve(2*n))
	d.ResetDevice()
	return nil
}

// model is what `info network` calls the card.
func (d *Device) model() string {
	if outer, ok := d.Parent().(device.Device); ok {
		return outer.Dev().TypeName()
	}
	return d.TypeName()
}

func (d *Device) check() error {
	size := func(name string, n uint16) error {
		if n < 64 || n > 1024 || n&(n-1) != 0 {
			return fmt.Errorf("Invalid %s (= %d), must be a power of 2 between 64 and 1024.", name, n)
		}
		return nil
	}
	if err := size("rx_queue_size", d.rxSize); err != nil {
		return err
	}
	if err := size("tx_queue_size", d.txSize); err != nil {
		return err
	}
	if _, ok := duplexes[d.duplex]; !ok {
		return fmt.Errorf("'duplex' must be 'half' or 'full'")
	}
	if d.speed < -1 {
		return fmt.Errorf("'speed' must be between 0 and INT_MAX")
	}
	if d.txTimer != "" && d.txTimer != "bh" {
		return fmt.Errorf("tx=%s is not supported: queues are served at once", d.txTimer)
	}
	return nil
}

// features are those that the driver is offered.
func (d *Device) features(pairs int) uint64 {
	f := d.chosen | 1<<featureMAC
	if !d.nic.Link.HasHeader() {
		f &^= offloadFeatures
	}
	if pairs == 1 {
		f &^= 1 << featureMQ
	}
	if d.hostMTU > 0 {
		f |= 1 << featureMTU
	}
	if d.speed >= 0 || d.duplex != "" {
		f |= 1 << featureSpeedDuplex
	}
	return f
}

// serve returns the handler of queue n. What a queue is for depends on whether the
// driver knows of several pairs: else the third is the control queue.
func (d *Device) serve(n int) func(*virtio.Queue) {
	return func(q *virtio.Queue) {
		last := 2
		if d.Has(featureMQ) {
			last = 2 * len(d.pairs)
		}
		switch {
		case n == last && d.Has(featureCtrlQueue):
			d.ctrl.serve(q)
		case n >= last:
		case n%2 == 0:
			d.pairs[n/2].roomMade()
		default:
			d.pairs[n/2].send(q)
		}
	}
}

// headerLength is that of the header of the driver's frames (5.1.6.1).
func (d *Device) headerLength(features uint64) int {
	if features&(1<<virtio.FeatureVersion1|1<<featureMergeable) != 0 {
		return net.HeaderNumbers
	}
	return net.HeaderLegacy
}

// FeaturesChanged implements virtio.FeatureUser.
func (d *Device) FeaturesChanged(uint64) { d.setHeader() }

// setHeader has the back end use the header that the driver does, if it can.
func (d *Device) setHeader() {
	length := 0
	if d.nic.Link.HasHeader() {
		length = d.headerLength(d.Features())
	}
	takes := guestOffloads(d.Features())
	d.Worker().Exclude(func() {
		d.now.header = -1 // nothing is sent until the link knows, too
		if d.now.switched {
			takes = d.now.offloads
		}
	})
	d.nic.Link.SetHeader(length, takes)
	d.Worker().Exclude(func() { d.now.header = length })
}

// guestOffloads returns what the driver takes.
func guestOffloads(features uint64) (o net.Offloads) {
	for bit, offload := range map[int]net.Offloads{
		featureGuestChecksum: net.OffloadChecksum, featureGuestTSO4: net.OffloadTSO4, featureGuestTSO6: net.OffloadTSO6,
		featureGuestECN: net.OffloadECN, featureGuestUFO: net.OffloadUFO,
	} {
		if features>>bit&1 != 0 {
			o |= offload
		}
	}
	return o
}

// ResetDevice implements virtio.Resetter.
func (d *Device) ResetDevice() {
	d.now.filter.reset()
	d.now.pairs = 1
	d.now.switched, d.now.offloads = false, 0
	d.ctrl.reset()
	d.mu.Lock()
	d.mac = d.conf.MAC
	d.status &^= statusAnnounce
	d.mu.Unlock()
}

// BootIndex implements device.Booter.
func (d *Device) BootIndex() (index int, suffix string) {
	return int(d.conf.BootIndex), "/ethernet-phy@0"
}

func init() {
	props := nic.Props(func(d *Device) *nic.Conf { return &d.conf })
	bit := func(name string, n uint, def bool) {
		props = append(props, object.Bit(name, func(d *Device) *uint64 { return &d.chosen }, n, def, "on/off"))
	}
	bit("csum", featureChecksum, true)
	bit("guest_csum", featureGuestChecksum, true)
	bit("gso", featureGSO, true)
	bit("guest_tso4", featureGuestTSO4, true)
	bit("guest_tso6", featureGuestTSO6, true)
	bit("guest_ecn", featureGuestECN, true)
	bit("guest_ufo", featureGuestUFO, true)
	bit("guest_announce", featureAnnounce, true)
	bit("host_tso4", featureHostTSO4, true)
	bit("host_tso6", featureHostTSO6, true)
	bit("host_ecn", featureHostECN, true)
	bit("host_ufo", featureHostUFO, true)
	bit("mrg_rxbuf", featureMergeable, true)
	bit("status", featureStatus, true)
	bit("ctrl_vq", featureCtrlQueue, true)
	bit("ctrl_rx", featureCtrlRx, true)
	bit("ctrl_vlan", featureCtrlVLAN, true)
	bit("ctrl_rx_extra", featureCtrlRxExtra, true)
	bit("ctrl_mac_addr", featureCtrlMAC, true)
	bit("ctrl_guest_offloads", featureCtrlOffloads, true)
	bit("mq", featureMQ, false)
	props = append(props,
		object.Int("rx_queue_size", func(d *Device) *uint16 { return &d.rxSize }, 256, ""),
		object.Int("tx_queue_size", func(d *Device) *uint16 { return &d.txSize }, 256, ""),
		object.Int("host_mtu", func(d *Device) *uint16 { return &d.hostMTU }, 0, ""),
		object.Int("speed", func(d *Device) *int32 { return &d.speed }, -1, ""),
		object.Str("duplex", func(d *Device) *string { return &d.duplex }, "", ""),
		object.Str("tx", func(d *Device) *string { return &d.txTimer }, "", ""),
	)
	virtio.Register(virtio.Kind{
		Name: "virtio-net", ID: deviceID, Description: "network card", Props: props,
		New: func() object.Object { return &Device{} },
		PCI: virtio.PCI{Class: 0x0200, Transitional: 0x1000, Vectors: virtio.VectorsForQueues},
	})
}
