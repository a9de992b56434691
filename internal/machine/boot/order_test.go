package boot

import (
	"strings"
	"testing"
)

func pairs(option string) (out []Pair) {
	for _, p := range strings.Split(option, ",") {
		k, v, _ := strings.Cut(p, "=")
		out = append(out, Pair{k, v})
	}
	return out
}

func TestOrder(t *testing.T) {
	o := NewOrder()
	for _, option := range []string{"order=cd,once=n", "menu=on,strict=on,splash=pic,splash-time=5000", "order=dc,reboot-timeout=-1"} {
		if err := o.Add(pairs(option)); err != nil {
			t.Fatal(err)
		}
	}
	if o.Devices(true) != "n" || o.Devices(false) != "dc" || !*o.Menu || !o.Strict || o.Splash != "pic" ||
		o.SplashTime != 5000 || o.RebootTimeout != -1 {
		t.Errorf("%+v", o)
	}
	if o := NewOrder(); o.Devices(true) != "cad" || o.Menu != nil || o.SplashTime != -1 {
		t.Errorf("defaults %+v", o)
	}
}

func TestOrderErrors(t *testing.T) {
	for option, want := range map[string]string{
		"order=cz":              "Invalid boot device 'z'",
		"order=C":               "Invalid boot device 'C'",
		"order=cc":              "Boot device 'c' was given twice",
		"once=z":                "Invalid boot device 'z'",
		"order=c,foo=1":         "Parameter 'boot.foo' is unexpected",
		"menu=maybe":            "Parameter 'boot.menu' expects 'on' or 'off'",
		"strict=2":              "Parameter 'boot.strict' expects 'on' or 'off'",
		"splash-time=x":         "Parameter 'boot.splash-time' expects integer",
		"splash-time=70000":     "splash-time is invalid,it should be a value between 0 and 65535",
		"splash-time=-1":        "splash-time is invalid,it should be a value between 0 and 65535",
		"reboot-timeout=100000": "reboot timeout is invalid,it should be a value between -1 and 65535",
		"reboot-timeout=-2":     "reboot timeout is invalid,it should be a value between -1 and 65535",
	} {
		o := NewOrder()
		if err := o.Add(pairs(option)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", option, err, want)
		}
	}
}

func TestEncodeCMOS(t *testing.T) {
	for _, tt := range []struct {
		devices      string
		order, third uint8
		err          string
	}{
		{"cad", 0x12, 0x30, ""}, {"c", 0x02, 0, ""}, {"", 0, 0, ""}, {"ndb", 0x34, 0x10, ""},
		{"cdna", 0, 0, "Too many boot devices for PC"}, {"p", 0, 0, "Invalid boot device for PC: 'p'"},
	} {
		order, third, err := EncodeCMOS(tt.devices)
		if order != tt.order || third != tt.third || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: %#x %#x %v", tt.devices, order, third, err)
		}
	}
}

func TestEncodeOrder(t *testing.T) {
	list := []BootEntry{{3, "/c"}, {-1, "/a"}, {2, "/b"}}
	for _, tt := range []struct {
		list   []BootEntry
		strict bool
		want   string
	}{
		{list, false, "/a\n/b\n/c\x00"}, {list, true, "/a\n/b\n/c\nHALT\x00"}, {nil, false, ""}, {nil, true, "HALT\x00"},
	} {
		if got, err := EncodeOrder(tt.list, tt.strict); err != nil || string(got) != tt.want {
			t.Errorf("%q, %v, want %q", got, err, tt.want)
		}
	}
	if list[0].Index != 3 {
		t.Error("the caller's list was sorted")
	}
	if _, err := EncodeOrder(append(list, BootEntry{2, "/d"}), false); err == nil || err.Error() != "The bootindex 2 has already been used" {
		t.Errorf("index twice: %v", err)
	}
}

func TestSplashName(t *testing.T) {
	bmp := make([]byte, 54)
	copy(bmp, "BM")
	bmp[28] = 24
	for _, tt := range []struct {
		data []byte
		want string
	}{{bmp, SplashBMPFile}, {[]byte{0xff, 0xd8, 0xff}, SplashJPEGFile}, {bmp[:20], ""}, {nil, ""}, {make([]byte, 54), ""}} {
		if got, err := SplashName("pic", tt.data); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("% x: %q, %v", tt.data, got, err)
		}
	}
}

func TestLoaderDevice(t *testing.T) {
	text := image("file", []byte("some text that is not ELF"))
	exe := image("file", elf(true, textPiece, dataPiece))
	for _, tt := range []struct {
		option string
		img    *Image
		want   []Segment // addresses, sizes and data
		pc     uint64    // 0: none
	}{
		{"data=0x11223344,data-len=3,addr=0x100", nil, []Segment{{Addr: 0x100, Size: 3, Data: []byte{0x44, 0x33, 0x22}}}, 0},
		{"data=0x112233,data-len=8,data-be=on,addr=1", nil, []Segment{{Addr: 1, Size: 8, Data: []byte{0, 0, 0, 0, 0, 0x11, 0x22, 0x33}}}, 0},
		{"data=0x1122334455667788,data-len=3,data-be=on,addr=1", nil, []Segment{{Addr: 1, Size: 3, Data: []byte{0x11, 0x22, 0x33}}}, 0},
		{"data-len=8,addr=1", nil, []Segment{{Addr: 1, Size: 8, Data: make([]byte, 8)}}, 0},
		{"file=x,addr=0x2000", text, []Segment{{Addr: 0x2000, Size: 25}}, 0},
		{"file=x,addr=0x2000,cpu-num=1", text, []Segment{{Addr: 0x2000, Size: 25}}, 0x2000},
		{"file=x", exe, []Segment{{Addr: 16 << 20, Size: 0x3000}, {Addr: 20 << 20, Size: 4}}, 0},
		{"file=x,cpu-num=1,addr=5", exe, []Segment{{Addr: 16 << 20, Size: 0x3000}, {Addr: 20 << 20, Size: 4}}, 0x1000000},
		{"file=x,force-raw=on,addr=5", exe, []Segment{{Addr: 5, Size: uint64(exe.Size)}}, 0},
		{"addr=0x500,cpu-num=1", nil, nil, 0x500},
	} {
		l, err := ParseLoader(pairs(tt.option))
		if err != nil {
			t.Errorf("%s: %v", tt.option, err)
			continue
		}
		p, err := l.Plan(tt.img)
		if err != nil || len(p.Segments) != len(tt.want) {
			t.Errorf("%s: %+v, %v", tt.option, p, err)
			continue
		}
		for i, s := range p.Segments {
			if w := tt.want[i]; s.Addr != w.Addr || s.Size != w.Size || string(s.Data) != string(w.Data) {
				t.Errorf("%s: segment %+v, want %+v", tt.option, s, w)
			}
		}
		if (p.PC != nil) != (tt.pc != 0) || p.PC != nil && (*p.PC != tt.pc || p.CPU != 1) {
			t.Errorf("%s: processor %d starts at %v", tt.option, p.CPU, p.PC)
		}
	}
}

func TestLoaderErrors(t *testing.T) {
	for option, want := range map[string]string{
		"foo=1":                         "Property 'loader.foo' not found",
		"addr=0":                        "please include valid arguments",
		"cpu-num=0":                     "please include valid arguments",
		"force-raw=on,addr=4":           "please include valid arguments",
		"addr=4":                        "cpu-num must be specified when setting a program counter",
		"addr=x":                        "Parameter 'addr' expects uint64",
		"cpu-num=-1,addr=4":             "Parameter 'cpu-num' expects uint64",
		"file=x,force-raw=perhaps":      "Parameter 'force-raw' expects 'on' or 'off'",
		"file=x,data=1":                 "Specifying a file is not supported when loading memory values",
		"force-raw=on,data=1":           "Specifying force-raw is not supported when loading memory values",
		"data=1":                        "Both data and data-len must be specified",
		"data-be=on,addr=0":             "Both data and data-len must be specified",
		"data=1,data-len=9,addr=0":      "data-len cannot be greater then 8 bytes",
		"data=1,data-len=256,addr=0":    "Parameter 'data-len' expects uint64",
		"data=1,data-len=4,addr=1g":     "Parameter 'addr' expects uint64",
		"data=0x1ffffffffffffffff,addr": "Parameter 'data' expects uint64",
	} {
		if _, err := ParseLoader(pairs(option)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", option, err, want)
		}
	}
	l, err := ParseLoader(pairs("file=x,addr=0xffffffffffffffff"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Plan(image("file", []byte("text"))); err == nil {
		t.Error("file that wraps around: accepted")
	}
	l.Addr = 0
	if _, err := l.Plan(image("file", elf(true, textPiece)[:70])); err == nil {
		t.Error("ELF image cut short: accepted")
	}
}
