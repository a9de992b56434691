package qtest

import (
	"encoding/binary"
	"strings"
	"testing"
)

// fwcfg reads n bytes of an item of the firmware's configuration.
func (m *machine) fwcfg(key uint16, n int) []byte {
	m.t.Helper()
	m.do("outw 0x510 %#x", key)
	data := make([]byte, n)
	for i := range data {
		data[i] = m.inb(0x511)
	}
	return data
}

// fwcfgFiles reads the directory of the firmware's configuration: a key and a size
// for each file.
func (m *machine) fwcfgFiles() map[string][2]int {
	m.t.Helper()
	const directory, entrySize = 0x19, 64
	be := binary.BigEndian
	n := int(be.Uint32(m.fwcfg(directory, 4)))
	data := m.fwcfg(directory, 4+n*entrySize)[4:]
	files := map[string][2]int{}
	for ; len(data) > 0; data = data[entrySize:] {
		name, _, _ := strings.Cut(string(data[8:entrySize]), "\x00")
		files[name] = [2]int{int(be.Uint16(data[4:])), int(be.Uint32(data))}
	}
	return files
}

// file returns what a file of the firmware's configuration says, "" if there is none.
func (m *machine) file(files map[string][2]int, name string) string {
	m.t.Helper()
	f := files[name]
	return string(m.fwcfg(uint16(f[0]), f[1]))
}

// bootOrder is where firmware finds in what order to try the kinds of disk.
func (m *machine) bootOrder() [2]uint8 {
	m.t.Helper()
	return [2]uint8{m.rtc(0x3d), m.rtc(0x38) & 0xf0}
}

// What -boot and -nographic say is where firmware looks for it.
func TestFirmwareIsTold(t *testing.T) {
	m := start(t, "pc")
	check(t, "order", m.bootOrder(), [2]uint8{0x12, 0x30})
	files := m.fwcfgFiles()
	for _, name := range []string{"etc/sercon-port", "bootorder", "etc/boot-menu-wait"} {
		check(t, name, m.file(files, name), "")
	}
	check(t, "no display", m.fwcfg(0x04, 2)[0], 0)

	for _, option := range [][]string{{"-nographic"}, {"-machine", "graphics=off"}} {
		m = start(t, "pc", option...)
		check(t, "serial console", m.file(m.fwcfgFiles(), "etc/sercon-port"), "\xf8\x03")
		check(t, "no display", m.fwcfg(0x04, 2)[0], 1)
	}
	m = start(t, "pc", "-nographic", "-machine", "graphics=on", "-boot",
		"order=dc,once=n,menu=on,splash-time=5000,reboot-timeout=258,strict=on",
		"-device", "virtio-rng-pci", "-drive", "if=none,id=d,driver=null-co,read-zeroes=on", "-device", "virtio-blk-pci,drive=d,bootindex=2,addr=7")
	files = m.fwcfgFiles()
	check(t, "serial console", m.file(files, "etc/sercon-port"), "")
	check(t, "order", m.file(files, "bootorder"), "/pci@i0cf8/scsi@7/disk@0,0\nHALT\x00")
	check(t, "menu", m.fwcfg(0x0e, 2)[0], 1)
	check(t, "wait for the menu", m.file(files, "etc/boot-menu-wait"), "\x88\x13")
	check(t, "wait after a failure", m.file(files, "etc/boot-fail-wait"), "\x02\x01\x00\x00")
	check(t, "order, once", m.bootOrder(), [2]uint8{0x04, 0})
	m.Execute("system_reset", nil, nil)
	m.ExpectEvent("RESET")
	check(t, "order after that", m.bootOrder(), [2]uint8{0x23, 0})
}

// What is loaded is loaded again at each reset.
func TestLoaderAfterReset(t *testing.T) {
	for _, board := range boards {
		m := start(t, board, "-device", "loader,addr=0x5000,data=0x11223344,data-len=4")
		check(t, "loaded", m.do("read 0x5000 5"), "0x4433221100")
		m.do("memset 0x5000 5 0xee")
		m.Execute("system_reset", nil, nil)
		m.ExpectEvent("RESET")
		check(t, "loaded again", m.do("read 0x5000 5"), "0x44332211ee")
	}
}
