package machine

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"govmd/internal/chardev"
	"govmd/internal/memory"
	"govmd/internal/runstate"
)

// hostileDevices are plugged beside a board's own.
var hostileDevices = map[string][]DeviceConfig{
	"pc": {
		{Driver: "pvpanic"}, {Driver: "ib700"}, {Driver: "i6300esb"}, {Driver: "virtio-rng-pci"}, {Driver: "virtio-serial-pci"},
		{Driver: "virtconsole"}, {Driver: "ich9-ahci"}, {Driver: "virtio-rng-pci-non-transitional"},
	},
	"microvm": {{Driver: "virtio-rng-device"}, {Driver: "virtio-serial-device"}, {Driver: "virtconsole"}},
}

// hostileBoard is a whole board with many devices and nothing that executes.
func hostileBoard(t *testing.T, name string) *rig {
	image := rom(t, 0xf4)
	return newRig(t, func(c *Config, _ Board) {
		b, err := NewBoard(name)
		if err != nil {
			t.Fatal(err)
		}
		b.common().firmware = image
		c.Board, c.Devices = b, hostileDevices[name]
		c.Policy = runstate.Policy{NoShutdown: true, Panic: runstate.PanicNone, Watchdog: runstate.WatchdogReset}
		for _, id := range []string{"com1", "com2", "debug"} {
			if _, err := c.Chardevs.Add(context.Background(), chardev.Config{ID: id, Backend: chardev.NullConfig{}}); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(c.Chardevs.Close)
		c.Serial = [4]string{"com1"}
		if name == "pc" {
			c.Serial[1], c.DebugCon = "com2", "debug"
		}
	})
}

// program is a fuzzer's input, read as numbers; past its end all are 0.
type program []byte

func (p *program) word(n int) (v uint64) {
	for range n {
		v <<= 8
		if len(*p) > 0 {
			v |= uint64((*p)[0])
			*p = (*p)[1:]
		}
	}
	return v
}

// access is one access of a hostile guest: anywhere in the ports or in what is no
// RAM of memory, and in the low RAM, where rings may be.
func (r *rig) access(p *program) {
	kind := p.word(1)
	sp, addr := r.io, p.word(2)
	switch kind & 3 {
	case 0: // any port
	case 1: // PCI configuration, of the functions of bus 0
		var b [4]byte
		v := 0x80000000 | uint32(addr)&0xfffc
		b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
		sp.WriteIO(0xcf8, b[:])
		addr = 0xcfc + addr&3
	case 2: // what is mapped in memory that is no RAM
		sp = r.mem
		var windows []memory.Section
		for _, s := range sp.FlatView() {
			if s.Block == nil {
				windows = append(windows, s)
			}
		}
		if len(windows) > 0 {
			w := windows[int(p.word(1))%len(windows)]
			addr = w.Addr + addr%max(w.Size, 1)
		}
	case 3: // low RAM and what shadows it
		sp, addr = r.mem, addr<<4&0xfffff
	}
	buf := make([]byte, 1<<(kind>>2&3))
	if sp == r.io && len(buf) == 8 {
		buf = buf[:4]
	}
	addr &^= uint64(len(buf)-1) & -(kind >> 4 & 1)
	if kind>>5&1 == 0 {
		sp.ReadIO(addr, buf)
		return
	}
	for i := range buf {
		buf[i] = byte(p.word(1))
	}
	sp.WriteIO(addr, buf)
}

func (r *rig) drive(p program) {
	for len(p) > 0 {
		switch op := p.word(1); op {
		case 0:
			r.do(func() error { r.Run.Reset(runstate.CauseGuestReset); return nil })
		case 1, 2, 3:
			step := int64(p.word(1)) << (8 * op)
			r.do(func() error { r.Env.Clock.Virtual.Advance(r.Env.Clock.Virtual.Now() + step); return nil })
		default:
			r.access(&p)
		}
	}
	r.do(func() error { return nil }) // what the guest has asked for is done
}

// fuzzBoard has a guest access all of a board at random. The board can be saved
// afterwards, loaded into a fresh one and saved there again, is reset and closed.
func fuzzBoard(f *testing.F, name string) {
	for seed := range byte(8) {
		p := make([]byte, 4096)
		x := uint32(seed) + 1
		for i := range p {
			x = x*1664525 + 1013904223
			p[i] = byte(x >> 24)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			t.Skip("longer than useful")
		}
		from, to := hostileBoard(t, name), hostileBoard(t, name)
		from.do(from.Run.Start)
		late := time.AfterFunc(time.Minute, func() { panic("the board hangs") })
		defer late.Stop()
		from.drive(data)
		from.do(func() error {
			if s := from.Run.State(); s != runstate.Running && s != runstate.Suspended {
				return nil
			}
			return from.Run.Stop(runstate.Paused)
		})
		saved := from.save()
		ram := make([]byte, rigRAM)
		if err := from.ram[0].Block().Read(0, ram); err != nil {
			t.Fatal(err)
		}
		if err := to.ram[0].Block().Write(0, ram); err != nil {
			t.Fatal(err)
		}
		to.do(func() error { return to.Env.State.LoadAll(saved) })
		same(t, saved, to.save())
		to.drive(data[len(data)/2:])
		to.do(func() error { to.Run.Reset(runstate.CauseHostQMPReset); return nil })
	})
}

func FuzzPC(f *testing.F)      { fuzzBoard(f, "pc") }
func FuzzMicrovm(f *testing.F) { fuzzBoard(f, "microvm") }

// However long a guest goes on, the process does not grow.
func TestHostileGuestsDoNotGrow(t *testing.T) {
	for _, name := range []string{"pc", "microvm"} {
		t.Run(name, func(t *testing.T) {
			r := hostileBoard(t, name)
			r.do(r.Run.Start)
			rnd := rand.NewChaCha8([32]byte{1})
			heap := func(rounds int) uint64 {
				p := make(program, 16<<10)
				for range rounds {
					_, _ = rnd.Read(p) // it never fails
					r.drive(p)
				}
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap(10) // what is made at first use is made
			if after := heap(40); after > before+1<<20 {
				t.Errorf("the heap has grown from %d to %d bytes", before, after)
			}
		})
	}
}
