package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// recorder notes what it serves; reads return successive bytes from 1.
type recorder struct {
	log  []string
	next uint64
}

func (r *recorder) read(size int) (v uint64) {
	for i := range size {
		r.next++
		v |= r.next & 0xff << (8 * i)
	}
	return v
}

func (r *recorder) PortIn(port uint16, size int) uint32 {
	r.log = append(r.log, fmt.Sprintf("in%d %x", size, port))
	return uint32(r.read(size)) | 0xff000000 // what is above size is ignored
}

func (r *recorder) PortOut(port uint16, size int, v uint32) {
	r.log = append(r.log, fmt.Sprintf("out%d %x %x", size, port, v))
}

func (r *recorder) MMIORead(addr uint64, size int) uint64 {
	r.log = append(r.log, fmt.Sprintf("read%d %x", size, addr))
	return r.read(size)
}

func (r *recorder) MMIOWrite(addr uint64, size int, v uint64) {
	r.log = append(r.log, fmt.Sprintf("write%d %x %x", size, addr, v))
}

func (r *recorder) Stopped(s *Stop) { r.log = append(r.log, "stopped "+s.String()) }

func TestDispatchPorts(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name  string
		out   bool
		size  byte
		count uint32
		data  string
		want  []string
		after string
	}{
		{"byte out", true, 1, 1, "\x12", []string{"out1 3f8 12"}, "\x12"},
		{"word in", false, 2, 1, "..", []string{"in2 3f8"}, "\x01\x02"},
		{"string out", true, 2, 2, "\x01\x02\x03\x04", []string{"out2 3f8 201", "out2 3f8 403"}, "\x01\x02\x03\x04"},
		{"string in", false, 1, 3, "...", []string{"in1 3f8", "in1 3f8", "in1 3f8"}, "\x01\x02\x03"},
		{"none", true, 4, 0, "", nil, ""},
		{"size 0", true, 0, 5, "", nil, ""},
		{"size 3", true, 3, 1, "abc", nil, "abc"},
		{"outside the page", true, 4, 1 << 20, "", nil, ""},
	} {
		v, r := fakeRun(), &recorder{}
		u := v.run[runUnion:]
		u[1] = c.size
		if c.out {
			u[0] = 1
		}
		le.PutUint16(u[2:], 0x3f8)
		le.PutUint32(u[4:], c.count)
		le.PutUint64(u[8:], 4096)
		copy(v.run[4096:], c.data)
		pending, stop := dispatch(v, r, ExitIO, nil)
		if !pending || stop || !reflect.DeepEqual(r.log, c.want) || string(v.run[4096:4096+len(c.after)]) != c.after {
			t.Errorf("%s: %v %v %q, data % x", c.name, pending, stop, r.log, v.run[4096:4096+len(c.after)])
		}
	}
}

func TestDispatchMMIOOfAnyLength(t *testing.T) {
	le := binary.LittleEndian
	for n, want := range map[int][]string{
		1: {"write1 ffe 1"},
		3: {"write2 ffe 201", "write1 1000 3"},
		7: {"write4 ffe 4030201", "write2 1002 605", "write1 1004 7"},
		8: {"write8 ffe 807060504030201"},
	} {
		v, r := fakeRun(), &recorder{}
		u := v.run[runUnion:]
		le.PutUint64(u, 0xffe)
		le.PutUint64(u[8:], 0x0807060504030201)
		le.PutUint32(u[16:], uint32(n))
		u[20] = 1
		dispatch(v, r, ExitMMIO, nil)
		if !reflect.DeepEqual(r.log, want) {
			t.Errorf("%d bytes: %q", n, r.log)
		}
		u[20] = 0
		clear(u[8:16])
		dispatch(v, r, ExitMMIO, nil)
		if got, want := le.Uint64(u[8:]), uint64(0x0807060504030201)&(^uint64(0)>>(64-8*n)); got != want {
			t.Errorf("%d bytes: guest reads %x", n, got)
		}
	}
}

func TestDispatchStops(t *testing.T) {
	for exit, want := range map[Exit]string{
		ExitShutdown:      "triple fault",
		ExitInternalError: "KVM internal error. Suberror: 0",
		ExitFailEntry:     "KVM: entry failed, hardware error 0x0 on host CPU 0",
		ExitDebug:         "debug exception 0 at 0x0, DR6 0x0",
		ExitSystemEvent:   "KVM: system event 0",
		ExitHLT:           "KVM: unexpected exit: hlt",
		Exit(77):          "KVM: unexpected exit: exit 77",
	} {
		var s Stop
		if pending, stop := dispatch(fakeRun(), &recorder{}, exit, &s); pending || !stop || s.String() != want {
			t.Errorf("%v: %v %v %q", exit, pending, stop, s.String())
		}
	}
	for _, exit := range []Exit{ExitIntr, ExitAgain, ExitIRQWindowOpen} {
		if pending, stop := dispatch(fakeRun(), &recorder{}, exit, nil); pending || stop {
			t.Errorf("%v: %v %v", exit, pending, stop)
		}
	}
	s := Stop{Kind: StopError, Err: errors.New("x")}
	if s.String() != "x" {
		t.Error(s.String())
	}
}
