// Package boot has the whole-system tests of starting, resetting, pausing and
// ending a machine that runs a stock kernel.
package boot

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"govmd/test/guest"
	"govmd/test/initramfs"
	"govmd/test/vmtest"
)

var (
	kernel    *initramfs.Kernel
	guestPath string
)

func TestMain(m *testing.M) { os.Exit(vmtest.RunWithGuest(m, &kernel, &guestPath)) }

// cpu is the host's model without XSAVE: the nested host's emulated processor does
// not tell KVM of a guest's XSETBV, so that KVM and the guest disagree on the size
// of the extended state, under QEMU too (CONTRIBUTING.md).
const cpu = "host,-xsave"

// start boots the stock kernel on two vCPUs. words are added to its command line.
func start(t *testing.T, machine, kernel, words string, args ...string) *vmtest.VM {
	t.Helper()
	return vmtest.Start(t, vmtest.Options{Args: append([]string{
		"-M", machine, "-accel", "kvm", "-cpu", cpu, "-smp", "2", "-m", "256",
		"-kernel", kernel, "-initrd", guestPath,
		"-append", strings.TrimSpace("console=ttyS0 panic=-1 quiet " + words),
	}, args...)})
}

var machines = []string{"pc", "microvm"}

// eachMachine runs a test on every machine type.
func eachMachine(t *testing.T, test func(t *testing.T, machine string)) {
	vmtest.NeedKVM(t)
	for _, machine := range machines {
		t.Run(machine, func(t *testing.T) { test(t, machine) })
	}
}

func TestBootsToShell(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		for _, image := range []struct{ name, path string }{
			{"bzImage", kernel.BzImage()},
			{"ELF", kernel.ELF()},
		} {
			t.Run(image.name, func(t *testing.T) {
				vm := start(t, machine, image.path, "")
				vm.Expect(guest.Ready)
				vm.Expect(guest.Prompt)
				vm.Type("echo sum $((40 + 2)) on $(nproc)\n")
				vm.Expect("sum 42 on 2")
				vm.Type("exit 0\n")
				vm.Expect(guest.Exit + "0")
				vm.ExpectEvent("SHUTDOWN")
				vm.ExpectExit(0)
			})
		}
	})
}

func TestEveryCPUWorks(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		vm := start(t, machine, kernel.ELF(), "govmd.test=smp")
		vm.Expect("govmd-guest: cpus 2 of 0-1")
		vm.Expect(guest.Exit + "0")
		vm.ExpectExit(0)
	})
}

func TestSystemReset(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		vm := start(t, machine, kernel.ELF(), "")
		vm.Expect(guest.Ready)
		vm.Expect(guest.Prompt)
		vm.Type("echo leftover >/tmp/leftover; echo done\n")
		vm.Expect("\ndone")
		vm.Execute("system_reset", nil, nil)
		vm.ExpectEvent("RESET")
		vm.Expect(guest.Ready)
		vm.Expect(guest.Prompt)
		vm.Type("ls /tmp/leftover || echo gone\n")
		vm.Expect("\ngone")
		if status := vm.Status(); status != "running" {
			t.Errorf("status after the reset is %q", status)
		}
	})
}

// A guest's own reboot ends the machine when that is asked for.
func TestNoReboot(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		words := ""
		if vmtest.IsQEMU() && machine == "microvm" {
			// QEMU 7.2's reset register does nothing there, and Linux would
			// poke at an absent keyboard controller for minutes.
			words = "reboot=t"
		}
		vm := start(t, machine, kernel.ELF(), words, "-no-reboot")
		vm.Expect(guest.Prompt)
		vm.QMP()
		vm.Type("reboot -f\n")
		e := vm.ExpectEvent("SHUTDOWN")
		checkShutdown(t, e, true, "guest-reset")
		vm.ExpectExit(0)
	})
}

func TestStopAndContUnderLoad(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		vm := start(t, machine, kernel.ELF(), "")
		vm.Expect(guest.Prompt)
		// One vCPU spins, the other goes in and out of HLT and prints.
		vm.Type("while :; do :; done & while :; do usleep 1000; echo tick; done\n")
		for range 5 {
			vm.Expect("\ntick")
			vm.Execute("stop", nil, nil)
			vm.ExpectEvent("STOP")
			if status := vm.Status(); status != "paused" {
				t.Fatalf("status after stop is %q", status)
			}
			// All that was printed is on its way through a pipe; then there
			// is silence, and no vCPU uses processor time.
			settled := settle(vm)
			used := vm.CPUTime()
			roundTrips(vm, 200)
			if text := vm.Console.Text(); text != settled {
				t.Errorf("the stopped guest prints %q", strings.TrimPrefix(text, settled))
			}
			if status := vm.Status(); status != "paused" {
				t.Fatalf("status is %q", status)
			}
			t.Logf("200 round trips of a stopped machine used %v", vm.CPUTime()-used)
			vm.Execute("cont", nil, nil)
			vm.ExpectEvent("RESUME")
			vm.Console.Skip() // so that the next tick is a new one
		}
		if status := vm.Status(); status != "running" {
			t.Errorf("status after cont is %q", status)
		}
	})
}

// settle returns the console's text once it does not grow any more.
func settle(vm *vmtest.VM) string {
	text := vm.Console.Text()
	for {
		roundTrips(vm, 20)
		now := vm.Console.Text()
		if now == text {
			return text
		}
		text = now
	}
}

func roundTrips(vm *vmtest.VM, n int) {
	for range n {
		vm.Status()
	}
}

func TestSystemPowerdown(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		vm := start(t, machine, kernel.ELF(), "")
		vm.Expect(guest.Prompt)
		vm.Execute("system_powerdown", nil, nil)
		vm.ExpectEvent("POWERDOWN")
		vm.Expect(guest.PowerButton)
		checkShutdown(t, vm.ExpectEvent("SHUTDOWN"), true, "guest-shutdown")
		vm.ExpectExit(0)
	})
}

func TestQuit(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		vm := start(t, machine, kernel.ELF(), "")
		vm.Expect(guest.Init)
		vm.Execute("quit", nil, nil)
		checkShutdown(t, vm.ExpectEvent("SHUTDOWN"), false, "host-qmp-quit")
		vm.ExpectExit(0)
	})
}

func checkShutdown(t *testing.T, e vmtest.Event, byGuest bool, reason string) {
	t.Helper()
	var data struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatalf("SHUTDOWN's data %s: %v", e.Data, err)
	}
	if data.Guest != byGuest || data.Reason != reason {
		t.Errorf("SHUTDOWN says %s, want guest %v, reason %s", e.Data, byGuest, reason)
	}
}
