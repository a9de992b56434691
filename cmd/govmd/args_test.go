package main

import (
	"reflect"
	"strings"
	"testing"

	"govmd/internal/chardev"
	"govmd/internal/machine"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/sock"
)

func parse(t *testing.T, line string) *setup {
	t.Helper()
	s, err := parseArgs(strings.Fields(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return s
}

// Each form of an option, and what it comes to.
func TestOptionForms(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	on := true
	for _, c := range []struct {
		line string
		got  func(*setup) any
		want any
	}{
		{"-m 64", func(s *setup) any { return s.ram }, uint64(64 << 20)},
		{"-m 64k", func(s *setup) any { return s.ram }, uint64(64 << 10)},
		{"-m 1.5G", func(s *setup) any { return s.ram }, uint64(3 << 29)},
		{"-m size=2G", func(s *setup) any { return s.ram }, uint64(2 << 30)},
		{"--m 1M,slots=0,maxmem=1M", func(s *setup) any { return s.ram }, uint64(1 << 20)},
		{"-m 1b", func(s *setup) any { return s.ram }, uint64(memoryPage)},
		{"-m 64 -m 0", func(s *setup) any { return s.ram }, uint64(0)}, // the default
		{"-M pc,memory.size=32M", func(s *setup) any { return s.ram }, uint64(32 << 20)},

		{"-smp 4", func(s *setup) any { return s.smp }, machine.SMPOptions{CPUs: n(4)}},
		{"-smp cpus=2,maxcpus=8,sockets=2,dies=1,cores=2,threads=2", func(s *setup) any { return s.smp },
			machine.SMPOptions{CPUs: n(2), MaxCPUs: n(8), Sockets: n(2), Dies: n(1), Cores: n(2), Threads: n(2)}},
		{"-smp cores=3", func(s *setup) any { return s.smp }, machine.SMPOptions{Cores: n(3)}},
		{"-smp 0x10", func(s *setup) any { return s.smp }, machine.SMPOptions{CPUs: n(16)}},
		{"-machine smp.cpus=2", func(s *setup) any { return s.smp }, machine.SMPOptions{CPUs: n(2)}},

		{"-M microvm", machineOption("type"), "microvm"},
		{"-machine type=microvm,rtc=off", machineOption("rtc"), "off"},
		{"-M pc -M microvm", machineOption("type"), "microvm"},
		{"-M pc,max_ram_below_4g=1G", machineOption("max-ram-below-4g"), "1G"},
		{"-no-hpet", machineOption("hpet"), "off"},
		{"-kernel k,v -append a=b,c", machineOption("kernel"), "k,v"},
		{"-kernel k,v -append a=b,c", machineOption("append"), "a=b,c"},
		{"-bios b", machineOption("firmware"), "b"},

		{"-S", accel, "kvm"},
		{"-accel qtest", accel, "qtest"},
		{"-accel tcg -accel qtest -accel kvm", accel, "qtest"},
		{"-M pc,accel=tcg:kvm", accel, "kvm"},
		{"-enable-kvm", accel, "kvm"},
		{"-accel kvm,kernel-irqchip=on", accel, "kvm"},

		{"-name a", func(s *setup) any { return s.cfg.Name }, "a"},
		{"-name guest=a,process=b,debug-threads=on", func(s *setup) any { return s.cfg.Name + s.processName }, "ab"},
		{"-uuid 00112233-4455-6677-8899-AABBCCDDEEFF", func(s *setup) any { return s.cfg.UUID.String() }, "00112233-4455-6677-8899-aabbccddeeff"},
		{"-L a -L b", func(s *setup) any { return s.cfg.FirmwareDirs }, []string{"a", "b"}},
		{"-boot dc", func(s *setup) any { return s.cfg.Boot.Order }, "dc"},
		{"-boot order=c,once=d,menu=on", func(s *setup) any { return s.cfg.Boot.Menu }, &on},
		{"-M pc,boot.once=n", func(s *setup) any { return s.cfg.Boot.Once }, "n"},
		{"-rtc base=2006-06-17,clock=vm", func(s *setup) any { return s.cfg.RTC },
			machine.RTC{Base: "2006-06-17", Clock: "vm", DriftFix: "none"}},

		{"-device isa-debug-exit,id=x,iobase=5", devices, []machine.DeviceConfig{{
			Driver: "isa-debug-exit", ID: "x", Given: "-device isa-debug-exit,id=x,iobase=5",
			Props: []machine.PropSetting{{Name: "iobase", Text: "5"}},
		}}},
		{`-device {"driver":"isa-debug-exit","iobase":5}`, devices, []machine.DeviceConfig{{
			Driver: "isa-debug-exit", Given: `-device {"driver":"isa-debug-exit","iobase":5}`,
			Props: []machine.PropSetting{{Name: "iobase", Value: int64(5)}},
		}}},
		{"-global a.b-c=d=e", func(s *setup) any { return s.cfg.Globals }, []object.Default{{Type: "a", Prop: "b-c", Value: "d=e"}}},
		{"-global driver=a.x,property=b,value=c", func(s *setup) any { return s.cfg.Globals }, []object.Default{{Type: "a.x", Prop: "b", Value: "c"}}},

		{"-serial null -serial none -serial chardev:c", func(s *setup) any { return s.serials }, []string{"serial0", "", "c"}},
		{"-serial mon:stdio", backend, chardev.StdioConfig{Signal: false}},
		{"-serial stdio", backend, chardev.StdioConfig{Signal: true}},
		{"-serial file:a", backend, chardev.FileConfig{Out: "a"}},
		{"-qmp unix:a,server=on,wait=off", backend, chardev.SocketConfig{Addr: sock.NewUnix("a"), Server: true}},
		{"-qmp tcp:h:1,server,nowait", backend, chardev.SocketConfig{Addr: sock.NewInet("h", "1"), Server: true}},
		{"-serial unix:a,server", backend, chardev.SocketConfig{Addr: sock.NewUnix("a"), Server: true, Wait: true}},
		{"-chardev socket,id=c,host=::1,port=5,reconnect=3", backend, chardev.SocketConfig{Addr: sock.NewInet("::1", "5"), Reconnect: 3}},
		{"-qmp null", monitors, []monitorSetup{{"compat_monitor0", false, false, "-qmp null"}}},
		{"-qmp-pretty chardev:c", monitors, []monitorSetup{{"c", false, true, "-qmp-pretty chardev:c"}}},
		{"-mon c", monitors, []monitorSetup{{"c", true, false, "-mon c"}}},
		{"-monitor null", monitors, []monitorSetup{{"compat_monitor0", true, false, "-monitor null"}}},
		{"-serial mon:null", monitors, []monitorSetup{{"serial0", true, false, "-serial mon:null"}}},
		{"-mon c,mode=control,pretty=on", monitors, []monitorSetup{{"c", false, true, "-mon c,mode=control,pretty=on"}}},
		{"-serial pty", backend, chardev.PTYConfig{}},
		{"-serial pipe:a", backend, chardev.PipeConfig{Path: "a"}},
		{"-serial /dev/ttyS0", backend, chardev.SerialConfig{Path: "/dev/ttyS0"}},
		{"-echr 0x14", func(s *setup) any { return s.escape }, byte(0x14)},
		{"-debugcon chardev:c", func(s *setup) any { return s.debugCon }, "c"},

		{"-no-reboot -no-shutdown", policy, runstate.Policy{NoReboot: true, NoShutdown: true}},
		{"-action reboot=shutdown,shutdown=pause,panic=none,watchdog=pause", policy,
			runstate.Policy{NoReboot: true, NoShutdown: true, Panic: runstate.PanicNone, Watchdog: runstate.WatchdogPause}},
		{"-no-reboot -action reboot=reset", policy, runstate.Policy{}},
		{"-watchdog-action inject-nmi", policy, runstate.Policy{Watchdog: runstate.WatchdogInjectNMI}},
		{"-nographic", func(s *setup) any { return s.display }, "none"},
		{"-monitor none -parallel none -net none -vga none -display none", func(s *setup) any { return s.nic + s.vga }, "nonenone"},
		{"-d guest_errors,unimp -D f", func(s *setup) any { return s.logItems + s.logFile }, "guest_errors,unimpf"},
	} {
		if got := c.got(parse(t, c.line)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.line, got, c.want)
		}
	}
}

func machineOption(key string) func(*setup) any {
	return func(s *setup) any {
		v, _ := s.machineOpts.Get(key)
		return v
	}
}

func accel(s *setup) any {
	name, err := s.accels.choose()
	if err != nil {
		return err
	}
	return name
}

func devices(s *setup) any  { return s.cfg.Devices }
func monitors(s *setup) any { return s.monitors }
func backend(s *setup) any  { return s.chardevs[0].Backend }

func policy(s *setup) any {
	return s.cfg.Policy
}

// What is in QEMU's old short form is taken, with a warning.
func TestWarnings(t *testing.T) {
	s := parse(t, "-chardev socket,id=c,path=p,server,nowait")
	want := []string{
		"-chardev socket,id=c,path=p,server,nowait: warning: short-form boolean option 'server' deprecated; Please use server=on instead",
		"-chardev socket,id=c,path=p,server,nowait: warning: short-form boolean option 'nowait' deprecated; Please use wait=off instead",
	}
	if !reflect.DeepEqual(s.warnings, want) {
		t.Errorf("warnings are %q", s.warnings)
	}
}

// Every option has a form of its own in the table, and a text unless it is another
// spelling.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range options {
		if seen[o.name] || o.apply == nil {
			t.Errorf("-%s is there twice, or does nothing", o.name)
		}
		seen[o.name] = true
		if strings.ContainsAny(o.help, "\n") {
			t.Errorf("-%s: the text has several lines", o.name)
		}
	}
	for _, name := range later {
		if seen[name] {
			t.Errorf("-%s is there, and is said not to be", name)
		}
	}
}

// The default serial port follows QEMU: with -nographic it is on the terminal, and
// shares that with the monitor where there is no other.
func TestDefaultSerial(t *testing.T) {
	for _, c := range []struct {
		line    string
		backend any // nil for no port
		mux     bool
	}{
		{"", chardev.NullConfig{}, false},
		{"-nographic", chardev.StdioConfig{Signal: false}, true},
		{"-nographic -monitor none", chardev.StdioConfig{Signal: true}, false},
		{"-nographic -qmp null", chardev.StdioConfig{Signal: true}, false},
		{"-nographic -serial none", nil, false},
		{"-nographic -device isa-serial,chardev=c -chardev null,id=c", nil, false},
		{"-nographic -nodefaults", nil, false},
	} {
		s := parse(t, c.line+" -vga none -nic none")
		v, err := newVM(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		mux := false
		for _, d := range s.chardevs {
			if d.ID == "serial0" {
				got, mux = d.Backend, d.Mux
			}
		}
		if !reflect.DeepEqual(got, c.backend) || mux != c.mux {
			t.Errorf("%q: serial0 is %+v, mux %v", c.line, got, mux)
		}
		if (v.cfg.Serial[0] == "serial0") != (c.backend != nil) {
			t.Errorf("%q: the first port is %q", c.line, v.cfg.Serial[0])
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\nb\r\n\nc"); got != "a; b; c" {
		t.Errorf("it is %q", got)
	}
}

func FuzzParseArgs(f *testing.F) {
	for _, o := range options {
		f.Add("-"+o.name, "a=b,c,,d=e,noq,x.y=z,help")
		f.Add("-"+o.name, "help")
	}
	f.Add("-device", `{"driver":"isa-serial","x":[{"y":1.5}]}`)
	f.Fuzz(func(t *testing.T, option, value string) {
		if strings.HasPrefix(strings.TrimLeft(option, "-"), "fw_cfg") && strings.Contains(value, "file") {
			return // reads files
		}
		s, err := parseArgs([]string{option, value})
		if err == nil && s == nil {
			t.Error("nothing, and no error")
		}
		if err != nil && oneLine(err.Error()) == "" {
			t.Error("an error says nothing")
		}
	})
}
