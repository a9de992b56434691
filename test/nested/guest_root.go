package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A mount is one call of mount(2).
type mount struct {
	source, target, fs string
	flags              uintptr
	data               string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fs, m.flags, m.data); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
	}
	return nil
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

func mountEarly() error {
	return mountAll([]mount{
		{"devtmpfs", "/dev", "devtmpfs", 0, "mode=755"},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"proc", "/proc", "proc", 0, ""},
	})
}

// openModules opens the two groups of modules in the initramfs. They are opened
// ahead as the second group loads while the root changes.
func openModules() (root, host []*os.File, err error) {
	list, err := os.ReadFile(modulesList)
	if err != nil {
		return nil, nil, err
	}
	a, b, _ := strings.Cut(string(list), "\n\n")
	open := func(names string) (files []*os.File) {
		for _, name := range strings.Fields(names) {
			f, e := os.Open(name)
			err = errors.Join(err, e)
			files = append(files, f)
		}
		return files
	}
	root, host = open(a), open(b)
	return root, host, err
}

func loadModules(files []*os.File) error {
	for _, f := range files {
		err := unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("loading %s: %w", f.Name(), err)
		}
	}
	return nil
}

// openPort waits for the virtio-serial port to the host side and opens it.
func openPort() (*blockingFile, error) {
	// Its driver makes ports when the device's answers arrive, after its module
	// has loaded: watch the folder before looking, so as to miss none.
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, "/dev", unix.IN_CREATE); err != nil {
		return nil, err
	}
	events := make([]byte, 4096)
	for {
		names, _ := filepath.Glob("/dev/vport*")
		for _, name := range names {
			fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, fmt.Errorf("opening %s: %w", name, err)
			}
			return &blockingFile{fd: fd}, nil
		}
		if _, err := unix.Read(watch, events); err != nil && err != unix.EINTR {
			return nil, err
		}
	}
}

// enterRoot makes the host's root ours: below it the host's file system, which
// nothing can change, above it memory that takes what is written.
func enterRoot(start *startMessage) error {
	const (
		root = "/root"
		p9   = "trans=virtio,version=9p2000.L,msize=512000,"
	)
	if err := mountAll([]mount{
		{rootTag, "/lower", "9p", unix.MS_RDONLY, p9 + "cache=loose"},
		{"tmpfs", "/upper", "tmpfs", 0, "mode=755,size=90%"},
	}); err != nil {
		return err
	}
	for _, dir := range []string{"/upper/data", "/upper/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := mountAll([]mount{
		{"overlay", root, "overlay", 0, "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work"},
		{"/dev", root + "/dev", "", unix.MS_MOVE, ""},
		{"/sys", root + "/sys", "", unix.MS_MOVE, ""},
		{"/proc", root + "/proc", "", unix.MS_MOVE, ""},
		{"tmpfs", root + "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", root + "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"devpts", root + "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"},
		{"cgroup2", root + "/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{scratchTag, root + scratchDir, "9p", 0, p9 + "cache=mmap"},
	}); err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("nested")); err != nil {
		return err
	}
	os.MkdirAll("/run/lock", 0o1777)
	// Guests may have more memory than there is here; they touch little of it.
	if err := os.WriteFile("/proc/sys/vm/overcommit_memory", []byte("1"), 0o644); err != nil {
		return err
	}
	if err := provideModules(start); err != nil {
		return err
	}
	return makeNodes()
}

// provideModules puts the kernel's modules where modprobe, the kernel's own calls
// of it included, looks for them.
func provideModules(start *startMessage) error {
	own := "/lib/modules/" + start.Release
	if _, err := os.Stat(own); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(start.Modules, start.Release), own); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	for _, tool := range []string{"modprobe", "insmod", "rmmod", "lsmod"} {
		err := os.Symlink(busybox, "/sbin/"+tool)
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// makeNodes makes the device files whose opening loads their module, as systemd
// does at boot on a usual host.
func makeNodes() error {
	for _, n := range []struct {
		name         string
		kind         uint32
		major, minor uint32
	}{
		{"/dev/net/tun", unix.S_IFCHR, 10, 200},
		{"/dev/vhost-net", unix.S_IFCHR, 10, 238},
		{"/dev/vhost-vsock", unix.S_IFCHR, 10, 241},
		{"/dev/fuse", unix.S_IFCHR, 10, 229},
		{"/dev/loop-control", unix.S_IFCHR, 10, 237},
	} {
		if err := os.MkdirAll(filepath.Dir(n.name), 0o755); err != nil {
			return err
		}
		err := unix.Mknod(n.name, n.kind|0o666, int(unix.Mkdev(n.major, n.minor)))
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("mknod %s: %w", n.name, err)
		}
	}
	for name, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	return nil
}
