package accel

import (
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"govmd/internal/device"
	"govmd/internal/device/i8254"
	"govmd/internal/device/i8259"
	"govmd/internal/device/ioapic"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// Names of the chips below /machine/unattached, by which tests watch their inputs.
const (
	nameIOAPIC  = "ioapic"
	namePIC     = "i8259"
	namePIT     = "pit"
	nameSpeaker = "pcspk"
)

// Qtest is the accelerator of that name: nothing executes, and the chips that KVM
// has in the kernel are models in user space.
type Qtest struct {
	pins [GSIs]*device.Pin
	msi  recorder

	// What PlugChips made; nil where there is none. A nil line drives nothing.
	pic    *i8259.Device
	pit    *i8254.Device
	toPIC  [16]*device.Line
	toAPIC [GSIs][]*device.Line
}

// NewQtest returns an accelerator for tests.
func NewQtest(log *logrus.Logger) *Qtest {
	q := &Qtest{msi: recorder{log: log}}
	for i := range q.pins {
		q.pins[i] = device.NewPin(fmt.Sprintf("gsi %d", i), func(high bool) { q.drive(i, high) })
	}
	return q
}

// drive carries a global system interrupt to the controllers.
func (q *Qtest) drive(gsi int, high bool) {
	if gsi < len(q.toPIC) {
		q.toPIC[gsi].SetLevel(high)
	}
	for _, l := range q.toAPIC[gsi] {
		l.SetLevel(high)
	}
}

// apicInputs returns the I/O APIC's inputs that an interrupt drives. The timer's
// arrives at 2, whose own is taken by the PICs' cascade, and is seen at 0 too.
func apicInputs(gsi int) []int {
	switch gsi {
	case 0:
		return []int{0, 2}
	case 2:
		return nil
	}
	return []int{gsi}
}

// Name implements Accel.
func (q *Qtest) Name() string { return "qtest" }

// Wire implements Accel: there is nobody to tell of the memory map.
func (q *Qtest) Wire(*memory.System, *memory.Space, *memory.Space, func(*MapError)) error { return nil }

// Pins implements Accel.
func (q *Qtest) Pins() [GSIs]*device.Pin { return q.pins }

// MSI implements Accel.
func (q *Qtest) MSI() device.MSIController { return &q.msi }

// Messages returns and forgets the messages that were sent to the processors
// since it was last called, or the first of them if there were very many.
func (q *Qtest) Messages() []device.MSIMessage { return q.msi.take() }

// PlugChips implements Accel.
func (q *Qtest) PlugChips(env *device.Env, pic, pit bool, prepare func(device.Device) error) error {
	plug := func(typeName, name string, wire func(device.Device)) (device.Device, error) {
		d, err := device.Create(typeName, "")
		if err != nil {
			return nil, err
		}
		if wire != nil {
			wire(d)
		}
		if err := prepare(d); err != nil {
			return nil, err
		}
		if err := object.Add(env.Root.Container("/machine/unattached"), d, name); err != nil {
			return nil, err
		}
		return d, device.Plug(env, nil, d)
	}
	d, err := plug(ioapic.TypeName, nameIOAPIC, nil)
	if err != nil {
		return err
	}
	for gsi := range q.toAPIC {
		for _, input := range apicInputs(gsi) {
			l := d.(*ioapic.Device).Input(input).Connect(q.pins[gsi].Label())
			q.toAPIC[gsi] = append(q.toAPIC[gsi], l)
		}
	}
	if pic {
		if d, err = plug(i8259.TypeName, namePIC, nil); err != nil {
			return err
		}
		q.pic = d.(*i8259.Device)
		for n := range q.toPIC {
			q.toPIC[n] = q.pic.Input(n).Connect(q.pins[n].Label())
		}
	}
	if !pit {
		return nil
	}
	d, err = plug(i8254.TypeName, namePIT, func(d device.Device) { d.(*i8254.Device).IRQ = q.pins[0] })
	if err != nil {
		return err
	}
	q.pit = d.(*i8254.Device)
	_, err = plug(i8254.SpeakerTypeName, nameSpeaker, func(d device.Device) { d.(*i8254.Speaker).PIT = q.pit })
	return err
}

// MaskPICs implements Accel.
func (q *Qtest) MaskPICs() error {
	if q.pic == nil {
		return nil
	}
	for _, port := range []uint64{0x21, 0xa1} {
		q.pic.Env().IO.WriteIO(port, []byte{0xff})
	}
	return nil
}

// SetELCR implements Accel.
func (q *Qtest) SetELCR(levels uint16) error {
	if q.pic != nil {
		q.pic.SetELCR(levels)
	}
	return nil
}

// SetHPETLegacy implements Accel.
func (q *Qtest) SetHPETLegacy(on bool) {
	if q.pit != nil {
		q.pit.SetHPETLegacy(on)
	}
}

// Pause implements runstate.VCPUs.
func (q *Qtest) Pause() {}

// Resume implements runstate.VCPUs.
func (q *Qtest) Resume() {}

// Close implements Accel.
func (q *Qtest) Close() {}

// recorder takes messages that no processor is there for.
type recorder struct {
	log *logrus.Logger

	mu       sync.Mutex
	messages []device.MSIMessage
}

const maxMessages = 1024

// Send implements device.MSIController.
func (r *recorder) Send(m device.MSIMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.messages) == maxMessages {
		r.log.Debugf("MSI 0x%x at 0x%x is not recorded", m.Data, m.Addr)
		return
	}
	r.messages = append(r.messages, m)
}

// NewRoute implements device.MSIController: there is no kernel to deliver by itself.
func (r *recorder) NewRoute() (device.MSIRoute, error) { return nil, device.ErrNoIRQFD }

func (r *recorder) take() []device.MSIMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.messages
	r.messages = nil
	return m
}
