package boot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"govmd/test/guest"
	"govmd/test/vmtest"
)

// devices is a machine of a stock kernel with a bit of everything. Its tests
// share a boot.
type devices struct {
	*vmtest.VM
	t       *testing.T
	console socket // behind a virtconsole
	port    socket // behind a virtserialport
}

// serialArgs are a virtconsole and a port on the virtio-serial device before them.
var serialArgs = []string{
	"-device", "virtconsole,chardev=hvc",
	"-device", "virtserialport,chardev=port,name=org.test.port",
}

func startDevices(t *testing.T, machine string, args ...string) *devices {
	t.Helper()
	dir, err := os.MkdirTemp("", "sockets") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &devices{t: t}
	var hvc, port []string
	d.console, hvc = newSocket(t, dir, "hvc")
	d.port, port = newSocket(t, dir, "port")
	args = append(append(append(hvc, port...), args...), serialArgs...)
	d.VM = start(t, machine, kernel.ELF(), "", args...)
	d.Expect(guest.Ready)
	d.Expect(guest.Prompt)
	d.QMP() // for the events
	return d
}

func (d *devices) sh(command string) string {
	d.t.Helper()
	return d.VM.Sh(command)
}

// what says what a guest sees.
func (d *devices) what(command, want string) {
	d.t.Helper()
	if got := d.sh(command); got != want {
		d.t.Errorf("%s\nprints %q, want %q", command, got, want)
	}
}

// More memory than fits below 4 GiB: the rest begins there.
const moreMemory = "5G"

func (d *devices) memoryAbove4G() {
	d.t.Helper()
	total := 0
	fmt.Sscan(d.sh("sed -n 's/MemTotal: *//p' /proc/meminfo"), &total)
	if total < 4800<<10 || total > 5<<20 {
		d.t.Errorf("the guest has %d KiB of memory", total)
	}
	if ranges := d.sh("grep 'System RAM' /proc/iomem"); !strings.Contains(ranges, "100000000-") {
		d.t.Errorf("memory is at\n%s", ranges)
	}
}

func TestPCDevices(t *testing.T) {
	vmtest.NeedKVM(t)
	d := startDevices(t, "pc", "-m", moreMemory,
		// Without topoext an AMD's processor does not tell of its threads.
		"-cpu", cpu+",topoext=on", "-smp", "3,sockets=1,cores=2,threads=2,maxcpus=4",
		"-device", "virtio-rng-pci,addr=5", // whose driver uses the modern interface
		"-device", "virtio-rng-pci-non-transitional,addr=6",
		"-device", "virtio-rng-pci,disable-modern=on,disable-legacy=off,addr=7",
		"-device", "virtio-rng-pci,vectors=0,addr=8",
		"-device", "virtio-serial-pci", "-device", "pvpanic",
		"-device", "i6300esb,addr=9", "-watchdog-action", "pause")

	d.memoryAbove4G()
	d.what("cd /sys/devices/system/cpu; echo $(cat present possible online)", "0-2 0-3 0-2")
	d.what("echo $(cat cpu?/topology/physical_package_id cpu?/topology/core_id)", "0 0 0 0 0 1")
	d.what("echo $(cat cpu?/topology/thread_siblings_list)", "0-1 0-1 2")

	for _, c := range []struct{ slot, want string }{
		{"05", "0x1005 1 MSI"}, {"06", "0x1044 1 MSI"}, {"07", "0x1005 0 MSI"}, {"08", "0x1005 1 APIC"},
	} {
		d.what("cd /sys/bus/pci/devices/0000:00:"+c.slot+".0; v=$(ls -d virtio*); "+
			`echo $(cat device) $(cut -c33 $v/features) $(grep "$v\(-input.*\)*$" /proc/interrupts | grep -o 'MSI\|APIC')`, c.want)
	}
	d.random(4)
	d.virtconsole()
	d.backPressure()
	d.setClock()
	d.keyboard()
	d.watchdog()

	if vmtest.IsQEMU() {
		return // in the emulated host its firmware does not come back from sleep
	}
	// Asleep until the clock's alarm, and once more until the user says so.
	d.VM.Begin("cd /sys; echo +5 >class/rtc/rtc0/wakealarm && echo mem >power/state && cat class/rtc/rtc0/wakealarm")
	d.ExpectEvent("SUSPEND")
	d.ExpectEvent("WAKEUP")
	equal(t, "the alarm that has been", d.VM.End(), "")
	d.VM.Begin("echo mem >/sys/power/state")
	d.ExpectEvent("SUSPEND")
	equal(t, "status", d.Status(), "suspended")
	d.Execute("system_wakeup", nil, nil)
	d.ExpectEvent("WAKEUP")
	d.VM.End()
	equal(t, "status", d.Status(), "running")
	d.what("nproc", "3")
	d.random(4)
	d.virtconsole()

	d.Type("echo c >/proc/sysrq-trigger\n")
	var panicked struct{ Action string }
	if err := json.Unmarshal(d.ExpectEvent("GUEST_PANICKED").Data, &panicked); err != nil {
		t.Error(err)
	}
	equal(t, "what follows the panic", panicked.Action, "poweroff")
	checkShutdown(t, d.ExpectEvent("SHUTDOWN"), true, "guest-panic")
	d.ExpectExit(0)
}

func TestMicrovmDevices(t *testing.T) {
	vmtest.NeedKVM(t)
	d := startDevices(t, "microvm", "-m", moreMemory,
		"-smp", "4,sockets=2,cores=2,threads=1",
		"-device", "virtio-rng-device", "-device", "virtio-serial-device")
	d.memoryAbove4G()
	d.what("cd /sys/devices/system/cpu; echo $(cat present possible online)", "0-3 0-3 0-3")
	d.what("echo $(cat cpu?/topology/physical_package_id cpu?/topology/core_id)", "0 0 1 1 0 1 0 1")
	d.what("echo $(cat cpu?/topology/thread_siblings_list)", "0 1 2 3")
	d.random(1)
	d.virtconsole()
	d.backPressure()
	d.setClock()
	d.Type("exit 0\n")
	d.ExpectExit(0)
}

// random reads from each of n entropy devices: what it takes from one is not all
// zeros and not the same twice.
func (d *devices) random(n int) {
	d.t.Helper()
	d.what("cd /sys/class/misc/hw_random; wc -w <rng_available", fmt.Sprint(n))
	d.what("for r in $(cat rng_available); do echo $r >rng_current && "+
		"for i in 1 2; do dd if=/dev/hwrng bs=64 count=1 2>/dev/null | sha256sum; done; done | "+
		"grep -v f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b | sort -u | wc -l", fmt.Sprint(2*n))
}

// virtconsole has a shell there do something.
func (d *devices) virtconsole() {
	d.t.Helper()
	d.sh("setsid sh </dev/hvc0 >/dev/hvc0 2>&1 & true")
	conn := d.console.dial(d.t, d.VM)
	defer conn.Close()
	console := vmtest.NewConsole(conn)
	fmt.Fprintf(conn, "echo 6 times 7 is $((6*7)); exit\n")
	if _, err := console.Wait(d.Context(), "6 times 7 is 42"); err != nil {
		d.t.Error(err)
	}
}

// backPressure sends more than all buffers on the way hold, either way, while
// the other side does not read: nothing is lost, and the writer waits.
func (d *devices) backPressure() {
	d.t.Helper()
	const size = 8 << 20 // its driver has up to 4 MiB in its queue
	conn := d.port.dial(d.t, d.VM)
	defer conn.Close()
	port := d.sh("echo /dev/$(grep -lx org.test.port /sys/class/virtio-ports/*/name | cut -d/ -f5)")
	d.sh(fmt.Sprintf("head -c %d /dev/urandom >/tmp/out; rm -f /tmp/sent", size))
	d.sh("(dd bs=32k if=/tmp/out of=" + port + "; touch /tmp/sent) 2>/dev/null & true")
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil { // the guest is at it
		d.t.Fatal(err)
	}
	want, _, _ := strings.Cut(d.sh("sha256sum /tmp/out"), " ")
	d.what("ls /tmp/sent 2>/dev/null || echo waits", "waits")
	var got bytes.Buffer
	got.Write(first)
	if _, err := io.CopyN(&got, conn, size-1); err != nil {
		d.t.Fatalf("after %d bytes: %v", got.Len(), err)
	}
	equal(d.t, "the sum of what the guest sent", sum(got.Bytes()), want)
	d.sh("wait; ls /tmp/sent")

	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(got.Bytes())
		sent <- err
	}()
	d.sh("exec 9<" + port + "; sha256sum /tmp/out") // open, and busy with something else
	select {
	case err := <-sent:
		d.t.Errorf("%d bytes are taken for a guest that does not read (%v)", size, err)
	default:
	}
	d.what(fmt.Sprintf("head -c %d <&9 | sha256sum; exec 9<&-", size), want+"  -")
	if err := <-sent; err != nil {
		d.t.Error(err)
	}
}

// setClock sets the clock an hour ahead.
func (d *devices) setClock() {
	d.t.Helper()
	d.sh(`date -u -s "@$(($(date +%s) + 3600))"; hwclock -u -w`)
	var change struct{ Offset int64 }
	if err := json.Unmarshal(d.ExpectEvent("RTC_CHANGE").Data, &change); err != nil {
		d.t.Error(err)
	}
	if change.Offset < 3590 || change.Offset > 3610 {
		d.t.Errorf("RTC_CHANGE says that it is %d s ahead", change.Offset)
	}
}
