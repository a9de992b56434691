package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// nullHandler is for regions whose accesses do not matter. It is not empty:
// pointers to it must differ.
type nullHandler struct{ _ int }

func (*nullHandler) ReadIO(uint64, int) uint64   { return 0 }
func (*nullHandler) WriteIO(uint64, int, uint64) {}

// seen is what a space shows at one address.
type seen struct {
	region   *Region
	off      uint64
	readOnly bool
}

// at is the model of rendering: what r shows at one address in it.
func (r *Region) at(addr uint64, readOnly bool) (seen, bool) {
	if r.off || addr > r.last {
		return seen{}, false
	}
	readOnly = readOnly || r.readOnly || r.rom
	if r.kind == kindAlias {
		if addr+r.aliasOff < addr {
			return seen{}, false
		}
		return r.target.at(addr+r.aliasOff, readOnly)
	}
	for _, c := range r.children {
		if addr >= c.offset {
			if s, ok := c.at(addr-c.offset, readOnly); ok {
				return s, true
			}
		}
	}
	if r.kind == kindContainer {
		return seen{}, false
	}
	return seen{r, addr, readOnly && r.kind == kindRAM}, true
}

// mirror is a listener that keeps the map from the changes that it is told of.
type mirror struct {
	t        testing.TB
	sections []Section
	fds      []IoEventFD
	calls    int
}

func (m *mirror) MapChanged(c Change) {
	m.calls++
	if c.empty() {
		m.t.Error("told of no change")
	}
	m.sections = replaced(m.t, m.sections, c.Removed, c.Added)
	m.fds = replaced(m.t, m.fds, c.FDRemoved, c.FDAdded)
	slices.SortFunc(m.sections, func(a, b Section) int { return compareU64(a.Addr, b.Addr) })
	for i := 1; i < len(m.sections); i++ {
		if m.sections[i].Addr <= m.sections[i-1].Last() {
			m.t.Errorf("sections overlap: %+v, %+v", m.sections[i-1], m.sections[i])
		}
	}
}

func compareU64(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func replaced[T comparable](t testing.TB, have, removed, added []T) []T {
	for _, x := range removed {
		i := slices.Index(have, x)
		if i < 0 {
			t.Errorf("told that %+v is removed, which was not there", x)
			continue
		}
		have = slices.Delete(have, i, i+1)
	}
	for _, x := range added {
		if slices.Contains(removed, x) {
			t.Errorf("told that %+v is removed and added", x)
		}
	}
	return append(have, added...)
}

// model builds trees from bytes and compares what comes of them with the naive
// renderer, in a small stretch of a space.
type model struct {
	t       testing.TB
	sys     *System
	sp      *Space
	base    uint64 // of the stretch
	block   *Block
	regions []*Region
	aliases int
	mirror  *mirror
	input   []byte
}

const modelSize = 256 // of the stretch, in bytes

func newModel(t testing.TB, input []byte) *model {
	m := &model{t: t, sys: NewSystem(), input: input}
	size := uint64(modelSize)
	if m.next()%2 == 1 { // the last bytes of 2^64
		size, m.base = 0, ^uint64(modelSize-1)
	}
	m.sp = m.sys.NewSpace("test", size)
	m.mirror = &mirror{t: t}
	m.sp.AddListener(m.mirror, 0)
	// No memory is touched, so none is needed.
	m.block = &Block{sys: m.sys, name: "ram", size: PageSize}
	top := m.sys.NewContainer("top", 0)
	if err := m.sp.Root().Add(m.base, top); err != nil {
		t.Fatal(err)
	}
	m.regions = []*Region{top}
	return m
}

func (m *model) next() int {
	if len(m.input) == 0 {
		return 0
	}
	b := m.input[0]
	m.input = m.input[1:]
	return int(b)
}

func (m *model) pick() *Region { return m.regions[m.next()%len(m.regions)] }

// offset is mostly small; sometimes it makes sums that do not fit.
func (m *model) offset() uint64 {
	n := m.next()
	if n > 250 {
		return -uint64(m.next())
	}
	return uint64(n) / 2
}

func (m *model) size() uint64 { return uint64(m.next()%100) + 1 }

func (m *model) step() {
	name := fmt.Sprint("r", len(m.regions))
	switch m.next() % 16 {
	case 0:
		m.regions = append(m.regions, m.sys.NewContainer(name, m.size()))
	case 1, 2:
		m.regions = append(m.regions, m.sys.NewIO(name, m.size(), &nullHandler{}, Spec{}))
	case 3:
		m.regions = append(m.regions, m.sys.NewRAM(name, m.block, uint64(m.next()), m.size()))
	case 4:
		m.regions = append(m.regions, m.sys.NewROM(name, m.block, uint64(m.next()), m.size()))
	case 5:
		if m.aliases++; m.aliases > 8 { // aliases of aliases multiply what there is to render
			return
		}
		a := m.sys.NewAlias(name, m.pick(), m.offset(), m.size())
		m.regions = append(m.regions, a)
		if at := m.offset(); m.next()%2 == 0 { // two halves that make a whole
			b := m.sys.NewAlias(name+"b", a.target, a.aliasOff+a.last+1, m.size())
			m.regions = append(m.regions, b)
			p := m.pick()
			_ = p.AddOverlap(at, a, 0)
			_ = p.AddOverlap(at+a.last+1, b, 0)
		}
	case 6, 7:
		_ = m.pick().AddOverlap(m.offset(), m.pick(), m.next()%5-2) // refused if it makes no tree
	case 8:
		p, c := m.pick(), m.pick()
		before := len(p.children)
		if p.Add(m.offset(), c) != nil && len(p.children) != before {
			m.t.Error("a refused region was added")
		}
	case 9:
		if r := m.pick(); r.Parent() != nil && r.Parent() != m.sp.Root() {
			r.Parent().Remove(r)
		}
	case 10:
		m.pick().SetEnabled(m.next()%3 != 0)
	case 11:
		m.pick().SetReadOnly(m.next()%2 == 0)
	case 12:
		if r := m.pick(); r.Parent() != m.sp.Root() {
			r.SetOffset(m.offset())
		}
	case 13:
		r := m.pick()
		r.SetAliasOffset(m.offset())
		r.SetSize(m.size())
	case 14:
		r := m.pick()
		v := uint64(m.next())
		if r.kind == kindIO {
			if m.next()%3 == 0 && len(r.fds) > 0 {
				f := r.fds[0]
				r.RemoveIoEventFD(f.Addr, f.Size, &f.Value, f.FD)
			} else {
				r.AddIoEventFD(m.offset()%16, 1<<(m.next()%3), &v, m.next())
			}
		}
	case 15:
		m.pick().SetPriority(m.next()%5 - 2)
	}
}

// run makes changes, some several at a time, and checks after each.
func (m *model) run() {
	for len(m.input) > 0 && !m.t.Failed() && len(m.regions) < 60 {
		calls := m.mirror.calls
		m.sys.Update(func() {
			for range m.next()%3 + 1 {
				m.sys.Update(m.step)
			}
		})
		if m.mirror.calls > calls+1 {
			m.t.Error("a transaction was told of more than once")
		}
		m.check()
	}
}

func (m *model) check() {
	m.t.Helper()
	view := m.sp.FlatView()
	if !slices.Equal(view, m.mirror.sections) {
		m.t.Fatalf("the listener's map differs:\n%+v\n%+v", m.mirror.sections, view)
	}
	var prev seen
	gaps := true // nothing seen before, or something that cannot go on
	for i := uint64(0); i < modelSize; i++ {
		want, ok := m.sp.root.at(m.base+i, false)
		e := m.sp.table.Load().find(m.base + i)
		got := seen{}
		if e.region != nil {
			got = seen{e.region, e.off + (m.base + i - e.first), e.readOnly}
			if e.block != nil && e.blockOff-e.off != e.region.blockOff {
				m.t.Fatalf("%#x: offset %#x in the block, %#x in the region", m.base+i, e.blockOff, e.off)
			}
		}
		if ok != (e.region != nil) || got != want {
			m.t.Fatalf("%#x: rendered %+v, the model has %+v", m.base+i, got, want)
		}
		joined := !gaps && got.region == prev.region && got.off == prev.off+1 && got.readOnly == prev.readOnly
		if starts := e.first == m.base+i; i > 0 && e.region != nil && joined == starts {
			m.t.Fatalf("%#x: a section starts: %v, though the region goes on: %v", m.base+i, starts, joined)
		}
		prev, gaps = got, e.region == nil
	}
	for _, f := range m.mirror.fds {
		s, ok := m.sp.Lookup(f.Addr)
		end, _ := m.sp.Lookup(f.Addr + uint64(f.Size-1))
		if !ok || s != end || !slices.Contains(s.Region.fds, IoEventFD{f.Addr - s.Addr + s.RegionOffset, f.Size, true, f.Value, f.FD}) {
			m.t.Fatalf("ioeventfd %+v is not in the region there", f)
		}
	}
}

func TestRenderAgainstModel(t *testing.T) {
	for seed := range uint64(120) {
		rng := rand.New(rand.NewPCG(seed, 1))
		input := make([]byte, 500)
		for i := range input {
			input[i] = byte(rng.Uint32())
		}
		newModel(t, input).run()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add([]byte{0, 2, 1, 50, 3, 0, 90, 6, 0, 10, 1, 2, 8, 0, 20, 2, 12, 1, 30})
	f.Add([]byte{1, 0, 5, 0, 255, 9, 99, 6, 0, 251, 3, 1, 4, 10, 1, 2})
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 2000 {
			return
		}
		newModel(t, input).run()
	})
}
