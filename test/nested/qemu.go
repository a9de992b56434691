package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"govmd/test/initramfs"
)

// A machine is the running QEMU.
type machine struct {
	cmd     *exec.Cmd
	dir     string   // temporary files
	channel *os.File // to the guest side
	gone    chan struct{}
}

// kernelCommandLine keeps the emulated machine quick: no mitigations to emulate,
// no watchdog that distrusts the emulated TSC under load, and no polling for
// wake-ups, which would burn the time that other threads of QEMU need.
const kernelCommandLine = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off " +
	"tsc=reliable no_timer_check nowatchdog random.trust_cpu=on kvm.halt_poll_ns=0"

// startMachine starts QEMU. The caller must call stop.
func startMachine(opts *options, k *initramfs.Kernel) (m *machine, err error) {
	dir, err := os.MkdirTemp("", "nested-")
	if err != nil {
		return nil, err
	}
	m = &machine{dir: dir, gone: make(chan struct{})}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	image := filepath.Join(dir, "initramfs")
	if err := writeImage(image, k); err != nil {
		return nil, fmt.Errorf("making the initramfs: %w", err)
	}
	scratch := opts.scratch
	if scratch == "" {
		scratch = filepath.Join(dir, "scratch")
		if err := os.Mkdir(scratch, 0o755); err != nil {
			return nil, err
		}
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "guest channel")
	defer theirs.Close()
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return nil, err
	}
	m.channel = os.NewFile(uintptr(ends[0]), "host channel")
	log, err := os.Create(m.qemuLog())
	if err != nil {
		return nil, err
	}
	defer log.Close()

	console := "file,id=console,path=" + escape(m.consoleLog())
	if opts.verbose {
		console = "stdio,id=console,signal=off,logfile=" + escape(m.consoleLog())
	}
	m.cmd = exec.Command("qemu-system-x86_64",
		"-name", "nested", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-M", "pc,usb=off,vmport=off,hpet=off", "-accel", "tcg,thread=multi",
		"-cpu", "EPYC,+svm,+npt,+invtsc", "-smp", strconv.Itoa(opts.cpus), "-m", strconv.Itoa(opts.memoryMiB),
		"-kernel", k.ELF(), "-initrd", image, "-append", kernelCommandLine,
		"-chardev", console, "-serial", "chardev:console",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=channel,fd=3",
		"-device", "virtserialport,chardev=channel,name="+portName,
		"-device", "virtio-rng-pci",
		"-virtfs", "local,path=/,mount_tag="+rootTag+",security_model=none,readonly=on,multidevs=remap",
		"-virtfs", "local,path="+escape(scratch)+",mount_tag="+scratchTag+",security_model=none,multidevs=remap",
	)
	m.cmd.ExtraFiles = []*os.File{theirs}
	m.cmd.Stderr = log
	if opts.verbose {
		m.cmd.Stdout = os.Stderr
	}
	// A process group of its own keeps the terminal's ^C for the command; and
	// QEMU goes when we go, however that happens.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.channel.Close()
		return nil, err
	}
	go func() {
		m.cmd.Wait()
		close(m.gone)
	}()
	return m, nil
}

// stop ends QEMU and removes all traces.
func (m *machine) stop() {
	m.cmd.Process.Kill() // fails if it is gone already
	<-m.gone
	m.channel.Close()
	os.RemoveAll(m.dir)
}

func (m *machine) consoleLog() string { return filepath.Join(m.dir, "console.log") }
func (m *machine) qemuLog() string    { return filepath.Join(m.dir, "qemu.log") }

// story is the end of what QEMU and the nested kernel said, for an error.
func (m *machine) story() string {
	var b strings.Builder
	for _, name := range []string{m.qemuLog(), m.consoleLog()} {
		data, _ := os.ReadFile(name)
		lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
		for _, line := range lines[max(0, len(lines)-40):] {
			// TCG says at each start which CPU features it does not emulate.
			if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.Contains(line, []byte("TCG doesn't support")) {
				fmt.Fprintf(&b, "\n  %s", line)
			}
		}
	}
	return b.String()
}

// escape doubles the commas of a value in QEMU's option syntax.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
