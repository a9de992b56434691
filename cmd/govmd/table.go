package main

import (
	"fmt"
	"slices"
	"strings"

	"govmd/internal/option"
)

// options are all options; init fills it, for -help refers to it.
var options []optionDef

func init() {
	options = []optionDef{
		{"help", "", "show this text", flag(func(s *setup) { s.help = printHelp })},
		{"h", "", "", flag(func(s *setup) { s.help = printHelp })},
		{"version", "", "show the version", flag(func(s *setup) { s.help = printVersion })},

		{"machine", "[type=]NAME[,PROP=VALUE...]", "machine type and its properties; 'help' lists types, 'NAME,help' properties", applyMachine},
		{"M", "NAME[,PROP=VALUE...]", "", applyMachine},
		{"accel", "[accel=]kvm|qtest[,PROP=VALUE...]", "what executes the vCPUs; given again, what to try next", applyAccel},
		{"enable-kvm", "", "the same as -machine accel=kvm", applyEnableKVM},
		{"cpu", "MODEL[,+FEATURE|-FEATURE|FEATURE=on|off...]", "CPU model; 'help' lists models and features", applyCPU},
		{"smp", "[[cpus=]N][,maxcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N]", "number and grouping of vCPUs", applySMP},
		{"m", "[size=]MEGS[,slots=N,maxmem=SIZE]", "guest memory, in MiB unless it has a suffix k, M, G or T; what there may become", applyMemory},
		{"mem-path", "FILE", "file, or directory of hugepages, that guest memory is in", text(func(s *setup) *string { return &s.memPath })},
		{"mem-prealloc", "", "allocate guest memory at the start", flag(func(s *setup) { s.memPrealloc = true })},
		{"numa", "node[,nodeid=N][,memdev=ID|,mem=SIZE][,cpus=FIRST[-LAST]]", "a NUMA node; 'dist' and 'cpu' say more, 'help' how", applyNUMA},
		{"name", "[guest=]NAME[,process=NAME][,debug-threads=on|off]", "name of the machine, and of the process", applyName},
		{"uuid", "UUID", "UUID of the machine", applyUUID},

		{"kernel", "FILE", "kernel to start without firmware: a Linux bzImage, or ELF with a PVH entry", machineFile("kernel")},
		{"initrd", "FILE", "initial ramdisk", machineFile("initrd")},
		{"append", "TEXT", "kernel command line", machineProp("append")},
		{"bios", "FILE", "firmware", machineFile("firmware")},
		{"option-rom", "[romfile=]FILE[,bootindex=N]", "a ROM that the firmware runs at its start", applyOptionROM},
		{"L", "DIR", "where to look for firmware before the usual places; 'help' lists them", applyFirmwareDir},
		{"boot", "[order=]DRIVES[,once=DRIVES][,menu=on|off][,splash=FILE][,splash-time=MS][,reboot-timeout=MS][,strict=on|off]", "boot order: c is the first disk, d a CD-ROM, n the network", applyBoot},
		{"rtc", "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]", "what the clock begins with and is driven by", applyRTC},
		{"smbios", "type=N[,KEY=VALUE...] or file=FILE", "SMBIOS tables", applySMBIOS},
		{"fw_cfg", "[name=]NAME,file=FILE or string=TEXT", "a file for the firmware and the guest", applyFwCfg},

		{"device", "TYPE[,id=ID][,bus=BUS][,PROP=VALUE...]", "add a device; 'help' lists types, 'TYPE,help' properties", applyDevice},
		{"object", "TYPE,id=ID[,PROP=VALUE...]", "create an object; 'help' lists types, 'TYPE,help' properties", applyObject},
		{"global", "TYPE.PROP=VALUE", "default of a device property", applyGlobal},

		{"add-fd", "fd=N,set=M[,opaque=TEXT]", "put an inherited file descriptor into a set, which is opened as /dev/fdset/M", applyAddFD},
		{"blockdev", "[driver=]DRIVER,node-name=NAME[,PROP=VALUE...]", "open an image or filter as a node of the block graph", applyBlockdev},
		{"drive", "[file=FILE][,if=ide|scsi|virtio|floppy|none][,index=N][,media=disk|cdrom][,format=FORMAT][,PROP=VALUE...]", "a drive with an image in it", applyDrive},
		{"hda", "FILE", "image of the first IDE disk; -hdb to -hdd are the others", applyFirstDisk},
		{"hdb", "FILE", "", driveFile(option.Item{Key: "index", Value: "1"}, option.Item{Key: "media", Value: "disk"})},
		{"hdc", "FILE", "", driveFile(option.Item{Key: "index", Value: "2"}, option.Item{Key: "media", Value: "disk"})},
		{"hdd", "FILE", "", driveFile(option.Item{Key: "index", Value: "3"}, option.Item{Key: "media", Value: "disk"})},
		{"cdrom", "FILE", "image of the CD-ROM", driveFile(option.Item{Key: "index", Value: "2"}, option.Item{Key: "media", Value: "cdrom"})},
		{"fda", "FILE", "image of the first floppy disk; -fdb is the second", driveFile(option.Item{Key: "index", Value: "0"}, option.Item{Key: "if", Value: "floppy"})},
		{"fdb", "FILE", "", driveFile(option.Item{Key: "index", Value: "1"}, option.Item{Key: "if", Value: "floppy"})},
		{"snapshot", "", "leave the images as they are: what is written goes away at the end", flag(func(s *setup) { s.snapshot = true })},

		{"chardev", "BACKEND,id=ID[,mux=on|off][,PROP=VALUE...]", "character device; 'help' lists back ends", applyChardev},
		{"serial", "DEV", "serial port: stdio, mon:stdio, pty, null, none, file:PATH, pipe:PATH, unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT, udp:HOST:PORT, /dev/ttyX or chardev:ID", applySerial},
		{"echr", "CHAR", "key that introduces the commands of a shared terminal, as a number; 1 (C-a) unless given", applyEscape},
		{"debugcon", "DEV", "debug console, on port 0xe9", applyDebugCon},
		{"mon", "[chardev=]ID[,mode=readline|control][,pretty=on|off]", "monitor on a character device: for people, or with mode=control QMP", applyMon},
		{"qmp", "DEV", "QMP monitor, such as unix:PATH,server=on,wait=off", applyQMP(false)},
		{"qmp-pretty", "DEV", "the same with indented output", applyQMP(true)},
		{"monitor", "DEV", "human monitor: stdio, unix:PATH, tcp:HOST:PORT, ... or none", applyMonitor},
		{"parallel", "none", "parallel port: there is none", only("none", "null")},
		{"qtest", "DEV", "serve the qtest protocol there; goes with -accel qtest", text(func(s *setup) *string { return &s.qtest })},

		{"S", "", "do not start the vCPUs until 'cont'", flag(func(s *setup) { s.paused = true })},
		{"no-reboot", "", "end instead of resetting", flag(func(s *setup) { s.cfg.Policy.NoReboot = true })},
		{"no-shutdown", "", "pause instead of ending", flag(func(s *setup) { s.cfg.Policy.NoShutdown = true })},
		{"action", "EVENT=ACTION[,...]", "what follows what the guest does: " + actionHelp(), applyAction},
		{"watchdog-action", "ACTION", "the same as -action watchdog=ACTION", applyWatchdogAction},
		{"nodefaults", "", "no default devices", flag(func(s *setup) { s.noDefaults = true })},
		{"no-user-config", "", "no configuration files: there are none", flag(func(*setup) {})},
		{"nographic", "", "no display, the first serial port on the terminal: C-a x ends, C-a h helps", flag(func(s *setup) {
			s.nographic, s.display = true, "none"
			s.setMachine("graphics", "off")
		})},
		{"display", "none", "display: not there yet", word(func(s *setup) *string { return &s.display }, "none")},
		{"vga", "none", "display adapter: not there yet", word(func(s *setup) *string { return &s.vga }, "none")},
		{"netdev", "TYPE,id=ID[,PROP=VALUE...]", "network back end: tap, stream or socket", applyNetdev},
		{"nic", "none", "network card: not there yet", word(func(s *setup) *string { return &s.nic }, "none")},
		{"net", "none", "", word(func(s *setup) *string { return &s.nic }, "none")},
		{"no-hpet", "", "no event timer: the same as -machine hpet=off", flag(func(s *setup) { s.setMachine("hpet", "off") })},
		{"no-acpi", "", "no ACPI: the same as -machine acpi=off", flag(func(s *setup) { s.setMachine("acpi", "off") })},

		{"pidfile", "FILE", "write the process id to FILE, which is locked, and goes away at the end", text(func(s *setup) *string { return &s.pidFile })},
		{"D", "FILE", "where what -d turns on is logged, instead of standard error; SIGUSR1 opens it and other logs anew", text(func(s *setup) *string { return &s.logFile })},
		{"trace", "[enable=]PATTERN[,events=FILE][,file=FILE]", "enable the trace points whose names match PATTERN, or a line of FILE; 'help' lists them", applyTrace},
		{"d", "ITEM[,ITEM...]", "what to log; 'help' lists items", applyLogItems},
	}
	options = append(options, serviceOptions...)
}

// flag is an option without an argument.
func flag(set func(*setup)) func(*setup, string, string) error {
	return func(s *setup, _, _ string) error {
		set(s)
		return nil
	}
}

// text is an option whose argument is kept as it is.
func text(field func(*setup) *string) func(*setup, string, string) error {
	return func(s *setup, _, v string) error {
		*field(s) = v
		return nil
	}
}

// only is an option that takes one of a few words: others are of what is not
// there yet.
func only(words ...string) func(*setup, string, string) error {
	return word(func(*setup) *string { return new(string) }, words...)
}

// word is an option that takes one of a few words and keeps it.
func word(field func(*setup) *string, words ...string) func(*setup, string, string) error {
	return func(s *setup, _, v string) error {
		if option.IsHelp(v) {
			s.help = func() error { return printf("%s\n", strings.Join(words, "\n")) }
			return nil
		}
		if !slices.Contains(words, v) {
			return fmt.Errorf("'%s' is not supported: only '%s' is", v, strings.Join(words, "' and '"))
		}
		*field(s) = v
		return nil
	}
}
