package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"govmd/test/vmtest"
)

// These tests run guests of a few instructions on any KVM, to see what becomes of
// what a guest does to its machine.

// boot starts a ROM, stopped, with a QMP client that gets all events.
func boot(t *testing.T, rom *vmtest.ROM, args ...string) *vmtest.VM {
	t.Helper()
	vmtest.NeedAnyKVM(t)
	vm := vmtest.Start(t, vmtest.Options{Timeout: limit, Args: append([]string{
		"-M", "pc", "-accel", "kvm", "-cpu", "host", "-m", "16", "-bios", rom.File(t), "-S",
	}, args...)})
	vm.QMP()
	return vm
}

func expectData(t *testing.T, e vmtest.Event, want string) {
	t.Helper()
	var got, expected any
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(e.Data, &got); err != nil {
		t.Fatalf("%s with data %s: %v", e.Name, e.Data, err)
	}
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		t.Errorf("%s says %s, want %s", e.Name, e.Data, want)
	}
}

// resets are the ways in which a guest resets a pc.
var resets = []struct {
	name string
	code func(*vmtest.ROM)
}{
	{"control register", func(r *vmtest.ROM) { r.Out8(vmtest.PortResetControl, 2).Out8(vmtest.PortResetControl, 6) }},
	{"keyboard controller", func(r *vmtest.ROM) { r.Out8(vmtest.PortKeyboard, 0xfe) }},
	{"port 92", func(r *vmtest.ROM) { r.Out8(0x92, 1) }},
	{"triple fault", func(r *vmtest.ROM) { r.TripleFault() }},
}

// cmosNote is a byte of CMOS memory that nobody else uses; it outlives a reset.
const cmosNote = 0x60

func TestKVMGuestResets(t *testing.T) {
	for _, c := range resets {
		t.Run(c.name, func(t *testing.T) {
			rom := vmtest.NewROM()
			rom.ReadCMOS(cmosNote).JumpIfAL(1, "again").CMOS(cmosNote, 1)
			c.code(rom)
			rom.Halt().Label("again").Print("again\n").Halt()
			vm := boot(t, rom)
			vm.Execute("cont", nil, nil)
			expectData(t, vm.ExpectEvent("RESET"), `{"guest": true, "reason": "guest-reset"}`)
			vm.Expect("again\n")
			if s := vm.Status(); s != "running" {
				t.Errorf("status is %q", s)
			}
			vm.Execute("quit", nil, nil)
			expectData(t, vm.ExpectEvent("SHUTDOWN"), `{"guest": false, "reason": "host-qmp-quit"}`)
			vm.ExpectExit(0)
		})
	}
}

func TestKVMNoReboot(t *testing.T) {
	for _, c := range resets {
		t.Run(c.name, func(t *testing.T) {
			rom := vmtest.NewROM()
			c.code(rom)
			rom.Halt()
			vm := boot(t, rom, "-no-reboot")
			vm.Execute("cont", nil, nil)
			expectData(t, vm.ExpectEvent("SHUTDOWN"), `{"guest": true, "reason": "guest-reset"}`)
			vm.ExpectExit(0)
		})
	}
}

func powerOff() *vmtest.ROM { return vmtest.NewROM().EnablePM().Sleep(vmtest.SleepS5).Halt() }

func TestKVMPowerOff(t *testing.T) {
	vm := boot(t, powerOff())
	vm.Execute("cont", nil, nil)
	expectData(t, vm.ExpectEvent("SHUTDOWN"), `{"guest": true, "reason": "guest-shutdown"}`)
	vm.ExpectExit(0)
}

func TestKVMNoShutdown(t *testing.T) {
	vm := boot(t, powerOff(), "-no-shutdown")
	vm.Execute("cont", nil, nil)
	expectData(t, vm.ExpectEvent("SHUTDOWN"), `{"guest": true, "reason": "guest-shutdown"}`)
	vm.ExpectEvent("STOP")
	if s := vm.Status(); s != "shutdown" {
		t.Errorf("status is %q", s)
	}
	if err := vm.QMP().Execute(t.Context(), "cont", nil, nil); err == nil || !strings.Contains(err.Error(), "Resetting the Virtual Machine is required") {
		t.Errorf("cont after a shutdown: %v", err)
	}
	vm.Execute("system_reset", nil, nil)
	vm.Execute("cont", nil, nil)
	vm.ExpectEvent("SHUTDOWN") // it has run again
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}

func TestKVMGuestPanics(t *testing.T) {
	for _, c := range []struct {
		args   string
		action string // of the event
		status string // "" where the program ends
		exit   int
	}{
		{"", "poweroff", "", 0},
		{"-action panic=exit-failure", "poweroff", "", 1},
		{"-no-shutdown", "pause", "guest-panicked", 0},
		{"-action panic=pause", "pause", "guest-panicked", 0},
		{"-action panic=none", "run", "running", 0},
	} {
		t.Run(c.args, func(t *testing.T) {
			rom := vmtest.NewROM().Out8(vmtest.PortPanic, 1).Print("done\n").Halt()
			vm := boot(t, rom, append([]string{"-device", "pvpanic"}, strings.Fields(c.args)...)...)
			vm.Execute("cont", nil, nil)
			expectData(t, vm.ExpectEvent("GUEST_PANICKED"), `{"action": "`+c.action+`"}`)
			if c.status == "" {
				expectData(t, vm.ExpectEvent("SHUTDOWN"), `{"guest": true, "reason": "guest-panic"}`)
				vm.ExpectExit(c.exit)
				return
			}
			if c.status == "running" {
				vm.Expect("done\n")
			} else {
				vm.ExpectEvent("STOP")
			}
			if s := vm.Status(); s != c.status {
				t.Errorf("status is %q, want %q", s, c.status)
			}
			vm.Execute("quit", nil, nil)
			vm.ExpectExit(0)
		})
	}
}

func TestKVMDebugExit(t *testing.T) {
	for _, v := range []uint8{0, 1, 42} {
		rom := vmtest.NewROM().Out8(0x501, v).Halt()
		vm := boot(t, rom, "-device", "isa-debug-exit")
		// QEMU ends before it answers.
		if err := vm.QMP().Execute(t.Context(), "cont", nil, nil); err != nil && !errors.Is(err, vmtest.ErrLost) {
			t.Error(err)
		}
		vm.ExpectExit(int(v)<<1 | 1)
	}
}

func TestKVMRTCChange(t *testing.T) {
	const statusB, day = 0x0b, 7
	rom := vmtest.NewROM().
		CMOS(statusB, 0x82). // set the time; the hours are of 24
		CMOS(9, 0x40).CMOS(8, 0x01).CMOS(day, 0x01).CMOS(4, 0).CMOS(2, 0).CMOS(0, 0).
		CMOS(statusB, 0x02).Halt()
	vm := boot(t, rom, "-rtc", "base=2040-01-02T00:00:00,clock=vm")
	vm.Execute("cont", nil, nil)
	e := vm.ExpectEvent("RTC_CHANGE")
	var data struct {
		Offset  int64  `json:"offset"`
		QOMPath string `json:"qom-path"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	const dayBack = -24 * 60 * 60
	if data.Offset > dayBack || data.Offset < dayBack-60 {
		t.Errorf("offset is %d, want %d and no more than a minute's less", data.Offset, dayBack)
	}
	if !strings.HasPrefix(data.QOMPath, "/machine/unattached/device[") {
		t.Errorf("qom-path is %q", data.QOMPath)
	}
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}

// A guest that has entered S3 wakes at the reset vector with its memory, and with
// the note in CMOS that firmware goes by.
func TestKVMSuspendAndWakeup(t *testing.T) {
	const shutdownStatus, s3Resume = 0x0f, 0xfe
	rom := vmtest.NewROM().ReadCMOS(shutdownStatus).JumpIfAL(s3Resume, "awake").
		EnablePM().Sleep(vmtest.SleepS3).Halt().
		Label("awake").Print("awake\n").Halt()
	vm := boot(t, rom)
	if err := vm.QMP().Execute(t.Context(), "system_wakeup", nil, nil); err == nil ||
		err.Error() != "GenericError: Unable to wake up: guest is not in suspended state" {
		t.Errorf("system_wakeup of a guest that is awake: %v", err)
	}
	vm.Execute("cont", nil, nil)
	vm.ExpectEvent("SUSPEND")
	if s := vm.Status(); s != "suspended" {
		t.Errorf("status is %q", s)
	}
	vm.Execute("system_wakeup", nil, nil)
	vm.ExpectEvent("WAKEUP")
	vm.Expect("awake\n")
	if s := vm.Status(); s != "running" {
		t.Errorf("status is %q", s)
	}
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}

// A guest at work is stopped, asked for its registers, goes on and ends in bounded
// time.
func TestKVMSpinningGuest(t *testing.T) {
	vm := boot(t, vmtest.NewROM().Print("go").Label("here").Jump("here"), "-smp", "2")
	vm.Execute("cont", nil, nil)
	vm.Expect("go")
	if !vmtest.IsQEMU() { // which has no query-cpus any more
		var cpus []struct {
			Halted bool
			PC     uint64
		}
		vm.Execute("query-cpus", nil, &cpus)
		if len(cpus) != 2 || cpus[0].PC>>8 != 0xffff00 || cpus[0].Halted || !cpus[1].Halted {
			t.Errorf("query-cpus says %+v", cpus)
		}
	}
	vm.Execute("stop", nil, nil)
	vm.ExpectEvent("STOP")
	before := vm.CPUTime()
	for range 50 {
		vm.Status()
	}
	if used := vm.CPUTime() - before; used > time.Second {
		t.Errorf("a stopped machine used %v", used)
	}
	vm.Execute("cont", nil, nil)
	vm.ExpectEvent("RESUME")
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}

// Idle vCPUs that keep their CPUs can be stopped as others can.
func TestKVMIdleKeepsCPU(t *testing.T) {
	vm := boot(t, vmtest.NewROM().Print("idle\n").Halt(), "-smp", "2", "-overcommit", "cpu-pm=on")
	for range 2 {
		vm.Execute("cont", nil, nil)
		vm.Expect("idle\n")
		vm.Execute("stop", nil, nil)
		vm.ExpectEvent("STOP")
		if s := vm.Status(); s != "paused" {
			t.Errorf("status is %q", s)
		}
		vm.Execute("system_reset", nil, nil)
	}
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}
