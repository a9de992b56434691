package machine

import (
	"fmt"
	"strings"
	"testing"

	"govmd/internal/memory"
	"govmd/internal/memory/hostmem"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// twoNodes gives a machine of 16 MiB two nodes, the second of which has CPU 0.
func twoNodes(t *testing.T) func(*Config, Board) {
	return func(c *Config, b Board) {
		if err := object.SetText(b, "firmware", rom(t, 0xf4)); err != nil {
			t.Fatal(err)
		}
		c.Objects = &object.Collection{}
		object.Provide(c.Objects, memory.NewSystem())
		object.Provide(c.Objects, hostmem.Defaults{Merge: true, Dump: true})
		t.Cleanup(c.Objects.Close)
		for _, text := range []string{"memory-backend-ram,id=m0,size=4M", "memory-backend-memfd,id=m1,size=12M"} {
			if err := c.Objects.Parse(text); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range []string{"node,memdev=m0,cpus=1", "node,memdev=m1,cpus=0", "dist,src=0,dst=1,val=21"} {
			if err := c.NUMA.Add(option.Parse(text, "type"), c.SMP); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A guest's memory goes on where one back end ends and the next begins.
func TestRAMOverBackends(t *testing.T) {
	r := newRig(t, twoNodes(t))
	r.do(func() error {
		dma := r.Env.Mem.NewDMA("test")
		const edge = 4 << 20
		if err := dma.Write(edge-3, []byte("across")); err != nil {
			return err
		}
		buf := make([]byte, 3)
		for id, c := range map[string]struct {
			off  uint64
			want string
		}{"m0": {edge - 3, "acr"}, "m1": {0, "oss"}} {
			b := r.Objects.Find(id).(*hostmem.Backend)
			if err := b.Block().Read(c.off, buf); err != nil || string(buf) != c.want {
				t.Errorf("%s has %q (%v)", id, buf, err)
			}
			if err := r.Objects.Delete(id); err == nil || !strings.Contains(err.Error(), "is in use, can not be deleted: it is used by the machine, as RAM") {
				t.Errorf("%s: %v", id, err)
			}
		}
		if err := dma.Write(rigRAM, []byte("x")); err == nil {
			t.Error("there is memory after the last")
		}
		return nil
	})
}

func TestNUMAInfo(t *testing.T) {
	r := newRig(t, twoNodes(t))
	r.do(func() error {
		cpus, err := r.hotpluggableCPUs()
		if err != nil {
			return err
		}
		if got := fmt.Sprint(*cpus[0].Props.CoreID, *cpus[0].Props.NodeID, *cpus[1].Props.CoreID, *cpus[1].Props.NodeID); got != "1 0 0 1" {
			t.Errorf("cores and nodes %s", got)
		}
		var out strings.Builder
		if err := r.infoNUMA(&qmp.Context{}, nil, &out); err != nil {
			return err
		}
		const want = "2 nodes\nnode 0 cpus: 1\nnode 0 size: 4 MB\nnode 0 plugged: 0 MB\nnode 1 cpus: 0\nnode 1 size: 12 MB\nnode 1 plugged: 0 MB\n"
		if out.String() != want {
			t.Errorf("info numa: %q", out.String())
		}
		words := r.numaWords(2)
		if got := fmt.Sprint(words); got != "[2 1 0 4194304 12582912]" {
			t.Errorf("firmware is told %s", got)
		}
		tables := r.numaTables(layout{below: rigRAM})
		if len(tables) != 2 || tables[0].Signature != "SRAT" || tables[1].Signature != "SLIT" || r.NUMA.distances[[2]int{1, 0}] != 21 {
			t.Errorf("tables %v, distances %v", tables, r.NUMA.distances)
		}
		return nil
	})
}

func TestPhysicalRanges(t *testing.T) {
	const gib = 1 << 30
	l := layout{below: 3 * gib, above: gib}
	for _, c := range []struct {
		off, size uint64
		want      string
	}{
		{0, 4 * gib, "[[0 655360] [1048576 3220176896] [4294967296 1073741824]]"},
		{0, 512 << 10, "[[0 524288]]"},
		{512 << 10, 1 << 20, "[[524288 131072] [1048576 524288]]"},
		{2 * gib, 2 * gib, "[[2147483648 1073741824] [4294967296 1073741824]]"},
		{3*gib + 4096, 4096, "[[4294971392 4096]]"},
	} {
		if got := fmt.Sprint(l.physical(c.off, c.size)); got != c.want {
			t.Errorf("%#x at %#x: %s, want %s", c.size, c.off, got, c.want)
		}
	}
}

func TestDistances(t *testing.T) {
	for options, want := range map[string]string{
		"dist,src=0,dst=1,val=20": "distance between node 0 and 2 is missing",
		"dist,src=0,dst=1,val=20 dist,src=1,dst=2,val=20 dist,src=2,dst=0,val=30":                         "",
		"dist,src=0,dst=1,val=20 dist,src=1,dst=0,val=21 dist,src=1,dst=2,val=20 dist,src=2,dst=0,val=30": "At least one asymmetrical pair",
	} {
		var n NUMA
		smp := SMP{CPUs: 1, MaxCPUs: 1, Sockets: 1, Dies: 1, Cores: 1, Threads: 1}
		for _, text := range append([]string{"node,mem=1", "node,mem=1", "node,mem=1"}, strings.Fields(options)...) {
			if err := n.Add(option.Parse(text, "type"), smp); err != nil {
				t.Fatal(err)
			}
		}
		err := n.check(3 << 20)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}

// Whatever -numa says, it is taken or refused, and the result can be checked.
func FuzzNUMA(f *testing.F) {
	f.Add("node,mem=1,cpus=0-1 node,nodeid=1,memdev=m dist,src=0,dst=1,val=20 cpu,node-id=1,core-id=0")
	f.Add("node,nodeid=127 node,cpus=4294967295 dist,src=127,dst=127,val=10")
	f.Fuzz(func(t *testing.T, text string) {
		var n NUMA
		smp := SMP{CPUs: 2, MaxCPUs: 4, Sockets: 2, Dies: 1, Cores: 2, Threads: 1}
		for _, o := range strings.Fields(text) {
			_ = n.Add(option.Parse(o, "type"), smp)
		}
		if n.checkNodes() == nil {
			_ = n.check(1 << 20)
		}
	})
}
