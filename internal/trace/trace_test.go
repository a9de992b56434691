package trace

import (
	"strings"
	"sync"
	"testing"
)

var (
	test0 = New0("test_nothing", "passed")
	test2 = New2[uint16, string]("test_two", "key %#x, text %s")
	testV = NewVCPU3[uint64, int, bool]("test_vcpu", "vcpu %d addr %#x size %d write %t")
)

// capture collects what trace points say during the test.
func capture(t testing.TB) func() string {
	var mu sync.Mutex
	var b strings.Builder
	SetSink(func(line []byte) {
		mu.Lock()
		defer mu.Unlock()
		b.Write(line)
	})
	t.Cleanup(func() {
		SetSink(nil)
		for _, p := range Matching("*") {
			p.Set(false)
		}
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		defer b.Reset()
		return b.String()
	}
}

func emitAll() {
	test0.Emit()
	test2.Emit(0x19, "a\nb")
	testV.Emit(0, 0x1000, 4, true)
	testV.Emit(3, 0x2000, 8, false)
}

func TestEmit(t *testing.T) {
	said := capture(t)
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, ""},
		{func() { Enable("test_two") }, "test_two key 0x19, text a.b\n"},
		{func() { Enable("-test_*"); Enable("test_n?thing") }, "test_nothing passed\n"},
		{func() { Enable("test_vcpu"); test0.Set(false) },
			"test_vcpu vcpu 0 addr 0x1000 size 4 write true\ntest_vcpu vcpu 3 addr 0x2000 size 8 write false\n"},
		{func() { testV.SetVCPU(0, false) }, "test_vcpu vcpu 3 addr 0x2000 size 8 write false\n"},
		{func() { testV.Set(false); testV.SetVCPU(0, true) }, "test_vcpu vcpu 0 addr 0x1000 size 4 write true\n"},
		{func() { testV.SetVCPU(0, false) }, ""},
	}
	for i, s := range steps {
		s.do()
		emitAll()
		if got := said(); got != s.want {
			t.Errorf("step %d: %q, want %q", i, got, s.want)
		}
	}
	if testV.On() {
		t.Error("a point that is enabled for no vCPU is on")
	}
	testV.SetVCPU(1<<40, true)
	testV.SetVCPU(-1, false)
	test2.Set(true)
	test2.Emit(1, strings.Repeat("x", 1<<20))
	if got := said(); len(got) > maxLine+10 || !strings.HasSuffix(got, "...\n") {
		t.Errorf("a long message has %d bytes", len(got))
	}
}

func TestNames(t *testing.T) {
	if Find("test_two") != &test2.Point || Find("test_") != nil || Find("test_*") != nil {
		t.Error("Find")
	}
	if Enable("test_none") || Enable("nope*") || !Enable("-test_two") {
		t.Error("Enable")
	}
	for _, name := range []string{"test_two", "", "test", "Test_x", "test-x", "_x", "x_"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is registered", name)
				}
			}()
			New0(name, "")
		}()
	}
	got := strings.Join(Patterns("# remark\n a_b*\r\n\n-c_d\n"), "|")
	if got != "a_b*|-c_d" {
		t.Error("patterns:", got)
	}
}

// Points are switched while they are passed.
func TestConcurrent(t *testing.T) {
	said := capture(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 1000 {
				emitAll()
				switch i {
				case 0:
					Enable("test_*")
				case 1:
					testV.SetVCPU(n%8, n%3 == 0)
				case 2:
					Enable("-test_vcpu")
				}
			}
		})
	}
	wg.Wait()
	for _, line := range strings.Split(said(), "\n") {
		if line != "" && !strings.HasPrefix(line, "test_") {
			t.Fatalf("%q", line)
		}
	}
}

func TestDisabledAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, emitAll); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDisabled(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		testV.Emit(0, 0x1000, 4, true)
	}
}

func BenchmarkEnabled(b *testing.B) {
	capture(b)
	SetSink(func([]byte) {})
	testV.Set(true)
	b.ReportAllocs()
	for b.Loop() {
		testV.Emit(0, 0x1000, 4, true)
	}
}
