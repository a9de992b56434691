package cli

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/test/vmtest"
)

// bad is a command line that must not start a machine. In args @ stands for the
// folder that the test has made; want is part of the one line of the complaint.
type bad struct {
	args string
	want string
}

// common are what a bad line is given beside, so that it is the only fault.
const common = "-nodefaults -display none -S -qmp unix:qmp.sock,server=on,wait=off -pidfile pid "

var badOptions = []bad{
	{"-frobnicate", "-frobnicate: invalid option"},
	{"-kernle x", "-kernle: invalid option; did you mean '-kernel'?"},
	{"--versoin", "--versoin: invalid option; did you mean '-version'?"},
	{"-trace foo=1", "-trace foo=1: Invalid parameter 'foo'"},
	{"-trace events=@/none", "no such file or directory"},
	{"-drive file=x", "-drive file=x: Could not open 'x': No such file or directory"},
	{"-drive if=zork", "-drive if=zork: unsupported bus type 'zork'"},
	{"-drive if=none,cache=zork", "-drive if=none,cache=zork: invalid cache option"},
	{"-drive index=0,bus=1", "-drive index=0,bus=1: index cannot be used with bus and unit"},
	{"-drive media=zip", "-drive media=zip: 'zip' invalid media"},
	{"-drive rerror=zip", "-drive rerror=zip: 'zip' invalid read error action"},
	{"-drive if=floppy,rerror=stop", "-drive if=floppy,rerror=stop: rerror is not supported by this bus type"},
	{"-drive if=none,id=1x", "-drive if=none,id=1x: Parameter 'id' expects an identifier"},
	{"-drive if=none,id=a -drive if=none,id=a", "-drive if=none,id=a: Duplicate ID 'a' for drive"},
	{"-drive if=none,unit=3 -drive if=none,unit=3", "-drive if=none,unit=3: drive with bus=0, unit=3 (index=-1) exists"},
	{"-drive if=ide,unit=2", "-drive if=ide,unit=2: unit 2 too big (max is 1)"},
	{"-drive if=none,file=/dev/null,aio=zip", "-drive if=none,file=/dev/null,aio=zip: invalid aio option"},
	{"-drive if=none,bps=1,bps_rd=1", "-drive if=none,bps=1,bps_rd=1: bps/iops/max total values and read/write values cannot be used at the same time"},
	{"-blockdev driver=null-co", "-blockdev driver=null-co: 'node-name' must be specified for the root node"},
	{"-blockdev driver=zork,node-name=x", "-blockdev driver=zork,node-name=x: Unknown driver 'zork'"},
	{"disk.img", "disk.img: Could not open 'disk.img': No such file or directory"},
	{"-m", "-m: requires an argument"},
	{"-m abc", "-m abc: Parameter 'size' expects a non-negative number below 2^64"},
	{"-m -5", "-m -5: Parameter 'size' expects"},
	{"-m 64X", "-m 64X: Parameter 'size' expects"},
	{"-m 99999999999999999999", "-m 99999999999999999999: Value '99999999999999999999' is out of range for parameter 'size'"},
	{"-m 64,foo=2", "-m 64,foo=2: Invalid parameter 'foo'"},
	{"-m size=64M,slost=2", "Invalid parameter 'slost'; did you mean 'slots'?"},
	{"-accel qtest -machine memory-backend=nosuch", "Memory backend 'nosuch' not found"},
	{"-accel qtest -m 256 -machine memory-backend=m0 -object memory-backend-ram,id=m0,size=128M", "Machine memory size does not match the size of the memory backend"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -machine memory-backend=m0 -numa node,memdev=m1", "'-machine memory-backend' and '-numa memdev' properties are mutually exclusive"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -machine memory-backend=m0 -mem-path /tmp", "'-mem-path' can't be used together with '-machine memory-backend'"},
	{"-accel qtest -object rng-builtin,id=r -machine memory-backend=r", "object 'r' is no memory backend"},
	{"-accel qtest -object rng-builtin,id=pc.ram", "object name 'pc.ram' is reserved for the default RAM backend"},
	{"-accel qtest -mem-path /nonexistent/x", "can't open backing store /nonexistent/x for guest RAM: No such file or directory"},
	{"-accel qtest -object memory-backend-file,id=x,size=1M", "Parameter 'mem-path' is missing"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,mem=32M", "-numa node,mem=32M: numa configuration should use either mem= or memdev=, mixing both is not allowed"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0,mem=32M", "numa configuration should use either mem= or memdev=, mixing both is not allowed"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m0", "memory backend m0 can't be used multiple times."},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0", "total memory for NUMA nodes (0x2000000) should equal RAM size (0x4000000)"},
	{"-accel qtest -numa node -numa node", "total memory for NUMA nodes (0x0) should equal RAM size (0x8000000)"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0,nodeid=0 -numa node,memdev=m1,nodeid=0", "-numa node,memdev=m1,nodeid=0: Duplicate NUMA nodeid: 0"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0,nodeid=0 -numa node,memdev=m1,nodeid=2", "numa: Node ID missing: 1"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0,nodeid=200", "Max number of NUMA nodes reached: 200"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0,cpus=0-4", "-numa node,memdev=m0,cpus=0-4: CPU index (2) should be smaller than maxcpus (2)"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0,cpus=0 -numa node,memdev=m1,cpus=0", "CPU is already assigned to node-id: 0"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0,cpus=x", "Parameter 'cpus' expects a uint64 value or range"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa dist,src=0,dst=1,val=5", "NUMA distance (5) is invalid, it shouldn't be less than 10."},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa dist,src=0,dst=3,val=20", "Source/Destination NUMA node is missing. Please use '-numa node' option to declare it first."},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa dist,src=0,dst=0,val=20", "Local distance of node 0 should be 10."},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa dist,src=0,dst=1,val=300", "Parameter 'val' expects uint8_t"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa cpu,node-id=5,socket-id=0", "Invalid node-id=5, NUMA node must be defined with -numa node,nodeid=ID before it's used with -numa cpu,node-id=ID"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa cpu,node-id=0,socket-id=9", "no match found"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa cpu,node-id=0,core-id=0 -numa cpu,node-id=1,core-id=0", "CPU is already assigned to node-id: 0"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa cpu,socket-id=0", "Missing mandatory node-id property"},
	{"-accel qtest -m 64 -smp 2 -object memory-backend-ram,id=m0,size=32M -object memory-backend-ram,id=m1,size=32M -numa node,memdev=m0 -numa node,memdev=m1 -numa cpu,node-id=0,cluster-id=0", "cluster-id is not supported"},
	{"-accel qtest -numa foo", "-numa foo: Parameter 'type' does not accept value 'foo'"},
	{"-accel qtest -numa node,foo=1", "-numa node,foo=1: Invalid parameter 'foo'"},
	{"-accel qtest -numa hmat-lb,initiator=0", "hmat-lb is not supported"},
	{"-M none -object memory-backend-ram,id=m,size=1M -machine memory-backend=m", "machine 'none' has no memory for a memory backend to be"},
	{"-M none -numa node", "NUMA is not supported by this machine-type"},
	{"-m 64,slots=2", "slots specified but no max-size"},
	{"-m 64,maxmem=32M", "invalid value of maxmem: maximum memory size (0x2000000) must be at least the initial memory size (0x4000000)"},
	{"-m 64,maxmem=64M,slots=2", "invalid value of maxmem: memory slots were specified but maximum memory size (0x4000000) is equal to the initial memory size (0x4000000)"},
	{"-m 64,maxmem=1G,slots=300", "unsupported amount of memory slots: 300"},
	{"-smp 0", "CPU topology parameters must be greater than zero"},
	{"-smp abc", "-smp abc: Parameter 'cpus' expects a number"},
	{"-smp 300", "Invalid SMP CPUs 300. The max CPUs supported by machine 'pc-i440fx-7.2' is 255"},
	{"-smp 4294967296", "Invalid SMP CPUs 4294967296."},
	{"-smp 99999999999999999999", "Value '99999999999999999999' is too large for parameter 'cpus'"},
	{"-smp 2,sockets=3", "product of the hierarchy must match maxcpus"},
	{"-smp 2,maxcpus=1", "maxcpus must be equal to or greater than smp"},
	{"-smp 2,core=2", "-smp 2,core=2: Invalid parameter 'core'; did you mean 'cores'?"},
	{"-M foo", "-machine foo: unsupported machine type"},
	{"-M pcc", "unsupported machine type; Use -machine help to list supported machines; did you mean 'pc'?"},
	{"-M pc,foo", "-M pc,foo: Expected '=' after parameter 'foo'"},
	{"-M pc,hpte=on", "-machine hpte=on: Property 'pc-i440fx-7.2-machine.hpte' not found; did you mean 'hpet'?"},
	{"-M pc,hpet=maybe", "-machine hpet=maybe: "},
	{"-M pc,usb=on", "-machine usb=on: "},
	{"-M pc,smp.cpus=0", "must be greater than zero"},
	{"-M pc,memory.size=x", "Parameter 'size' expects"},
	{"-M pc,kernel-irqchip=off", "kernel-irqchip=off is not supported"},
	{"-accel foo", "invalid accelerator foo"},
	{"-accel kvm,foo=on", "Property 'kvm-accel.foo' not found"},
	{"-accel kvm -machine accel=kvm", `The -accel and "-machine accel=" options are incompatible`},
	{"-uuid abc", "-uuid abc: failed to parse UUID string: wrong format"},
	{"-uuid {00112233-4455-6677-8899-aabbccddeeff}", "wrong format"},
	{"-name foo,bar=baz", "-name foo,bar=baz: Invalid parameter 'bar'"},
	{"-boot order=1", "-boot order=1: Invalid boot device '1'"},
	{"-boot order=cc", "Boot device 'c' was given twice"},
	{"-boot strict=maybe", "Parameter 'boot.strict' expects 'on' or 'off'"},
	{"-boot splash-time=99999999", "splash-time is invalid"},
	{"-rtc base=foo", "-rtc base=foo: base=foo: invalid datetime format; valid formats"},
	{"-rtc clock=bar", "clock: invalid option value 'bar'"},
	{"-rtc foo=bar", "-rtc foo=bar: Invalid parameter 'foo'"},
	{"-device foo", "-device foo: 'foo' is not a valid device model name"},
	{"-device isa-seriall", "did you mean 'isa-serial'?"},
	{"-device id=x", "-device id=x: Parameter 'driver' is missing"},
	{"-device isa-debug-exit,id=1x", "Parameter 'id' expects an identifier; Identifiers consist of letters"},
	{"-device isa-debug-exit,id=x -device isa-debug-exit,id=x", "-device isa-debug-exit,id=x: Duplicate ID 'x' for device"},
	{`-device {"driver":1}`, "Invalid parameter type for 'driver', expected: string"},
	{`-device {"driver":"isa-debug-exit"`, `-device {"driver":"isa-debug-exit": JSON parse error`},
	{"-object foo,id=x", "-object foo,id=x: Parameter 'qom-type' does not accept value 'foo'"},
	{"-object rng-builtn,id=x", "did you mean 'rng-builtin'?"},
	{"-object rng-builtin", "-object rng-builtin: Parameter 'id' is missing"},
	{"-object rng-builtin,id=1x", "Parameter 'id' expects an identifier"},
	{"-object rng-builtin,id=x -object rng-builtin,id=x", "-object rng-builtin,id=x: Duplicate ID 'x' for object"},
	{"-object rng-random,id=x,filename=@/none", "Could not open '@/none'"},
	{`-object {"qom-type":"rng-random","id":"x","filename":5}`, "Invalid parameter type for 'filename', expected: string"},
	{"-global foo", "-global foo: Invalid parameter 'foo'"},
	{"-global driver=foo,property=bar", "options 'driver', 'property', and 'value' are required"},
	{"-chardev foo,id=x", "-chardev foo,id=x: 'foo' is not a valid char driver name"},
	{"-chardev sokcet,id=x", "'sokcet' is not a valid char driver name; did you mean 'socket'?"},
	{"-boot menuu=on", "Parameter 'boot.menuu' is unexpected; did you mean 'menu'?"},
	{"-fw_cfg nam=opt/x,string=a", "Invalid parameter 'nam'; did you mean 'name'?"},
	{"-chardev null", "-chardev null: chardev: no id specified"},
	{"-chardev null,id=x,foo=1", "-chardev null,id=x,foo=1: Invalid parameter 'foo'"},
	{"-chardev null,id=x -chardev null,id=x", "-chardev null,id=x: Duplicate ID 'x' for chardev"},
	{"-chardev file,id=x,path=@/none/x", "-chardev file,id=x,path=@/none/x: Could not open '@/none/x': "},
	{"-chardev socket,id=x,path=@/none/x,server=on,wait=off", "Failed to bind socket to @/none/x: "},
	{"-chardev socket,id=x,path=@/none/x", "Failed to connect to '@/none/x': "},
	{"-chardev socket,id=x,path=@/busy,server=on,wait=off", "Failed to bind socket to @/busy: Address already in use"},
	{"-chardev socket,id=x,path=@/" + strings.Repeat("x", 108) + ",server=on", "is too long"},
	{"-chardev socket,id=x,host=127.0.0.1,port=PORT,server=on,wait=off", "Failed to find an available port: Address already in use"},
	{"-chardev stdio,id=x -chardev stdio,id=y", "-chardev stdio,id=y: cannot use stdio by multiple character devices"},
	{"-add-fd set=1", "-add-fd set=1: fd option is required and must be non-negative"},
	{"-add-fd fd=1,set=1", "-add-fd fd=1,set=1: fd cannot be a standard I/O stream"},
	{"-add-fd fd=99,set=1", "-add-fd fd=99,set=1: fd is not valid or already in use"},
	{"-echr 0", "-echr 0: Bad argument to echr"},
	{"-echr 256", "-echr 256: Bad argument to echr"},
	{"-chardev braille,id=x", "chardev back end 'braille' is not supported"},
	{"-chardev socket,id=x,path=@/s,websocket=on", "'websocket' is not supported"},
	{"-chardev socket,id=x,fd=99", "File descriptor '99' is not a socket"},
	{"-chardev socket,id=x,host=h,port=1,tls-creds=nope", "No TLS credentials with id 'nope'"},
	{"-serial sdtio", "-serial sdtio: 'sdtio' is not a valid char driver; did you mean 'stdio'?"},
	{"-serial foo", "-serial foo: 'foo' is not a valid char driver"},
	{"-serial file:@/none/x", "-serial file:@/none/x: Could not open '@/none/x': "},
	{"-serial unix:@/none/x,server=on,wait=off", "-serial unix:@/none/x,server=on,wait=off: Failed to bind socket to @/none/x: "},
	{"-serial unix:@,server=on,wait=off", "Failed to bind socket to @: "},
	{"-serial null -serial null -serial null -serial null -serial null", "there are no more than 4 serial ports"},
	{"-qmp foo", "-qmp foo: "},
	{"-qmp unix:@/none/x,server=on,wait=off", "-qmp unix:@/none/x,server=on,wait=off: Failed to bind socket to @/none/x: "},
	{"-qmp unix:@/busy,server=on,wait=off", "Failed to bind socket to @/busy: Address already in use"},
	{"-qmp unix:@/twice,server=on,wait=off -qmp unix:@/twice,server=on,wait=off", "Failed to bind socket to @/twice: Address already in use"},
	{"-mon chardev=foo,mode=control", "-mon chardev=foo,mode=control: chardev 'foo' not found"},
	{"-mon mode=control", "Parameter 'chardev' is missing"},
	{"-chardev null,id=x -mon x,pretty=on", "'pretty' is not compatible with HMP monitors"},
	{"-chardev null,id=x -mon x,mode=foo", "Parameter 'mode' does not accept value 'foo'"},
	{"-M none -chardev null,id=x -mon x,mode=control -mon x,mode=control", "Device 'x' is in use"},
	{"-fw_cfg name=opt/x", "-fw_cfg name=opt/x: name, plus exactly one of file and string, are needed"},
	{"-fw_cfg name=opt/x,file=@/none", "could not open file '@/none': "},
	{"-fw_cfg name=opt/x,file=/dev/zero", "file '/dev/zero' is not a regular file"},
	{"-fw_cfg name=opt/" + strings.Repeat("x", 60) + ",string=x", "name too long (max. 55 char)"},
	{"-option-rom bootindex=1", "-option-rom bootindex=1: Option ROM file is not specified"},
	{"-M pc -accel qtest -option-rom @/none", "could not open option ROM '@/none': "},
	{"-option-rom @/none,bootindx=1", "Invalid parameter 'bootindx'; did you mean 'bootindex'?"},
	{"-option-rom @/none,bootindex=4294967296", "is too large for parameter 'bootindex'"},
	{"-action reboot=foo", "-action reboot=foo: Parameter 'reboot' does not accept value 'foo'"},
	{"-action rebot=reset", "Invalid parameter 'rebot'; did you mean 'reboot'?"},
	{"-d foo", "-d foo: log item 'foo' is not supported"},
	{"-D @/none/log", "-D @/none/log: no such file or directory"},
	{"-display sdl", "-display sdl: 'sdl' is not supported"},
	{"-vga std", "-vga std: 'std' is not supported"},
	{"-nic user", "-nic user: 'user' is not supported"},
	{"-monitor vc", "-monitor vc: chardev back end 'vc' is not supported"},
	{"-qtest unix:@/none", "-qtest unix:@/none: goes with -accel qtest alone"},
	{"-pidfile @/none/pid", "-pidfile @/none/pid: cannot create PID file: no such file or directory"},
	{"-pidfile @", "-pidfile @: cannot create PID file: is a directory"},
}

// badMachines are found when the machine is made; they are tried on a board.
var badMachines = []bad{
	{"-initrd @/ok", "-initrd only allowed with -kernel option"},
	{"-append x", "-append only allowed with -kernel option"},
	{"-kernel @/none", "could not open kernel image '@/none': no such file or directory"},
	{"-kernel @", "kernel image '@' is not a regular file"},
	{"-kernel @/fifo", "kernel image '@/fifo' is not a regular file"},
	{"-kernel /dev/zero", "kernel image '/dev/zero' is not a regular file"},
	{"-kernel @/empty", "kernel image '@/empty' is cut short"},
	{"-kernel @/noise", "kernel image '@/noise': neither a bzImage nor an ELF image"},
	{"-kernel @/bz.cut", "kernel image '@/bz.cut' is cut short"},
	{"-kernel @/elf.magic", "kernel image '@/elf.magic' is cut short"},
	{"-kernel @/elf.nonote", "kernel image '@/elf.nonote': it has no PVH entry point"},
	{"-kernel @/elf.phnum", "kernel image '@/elf.phnum': an ELF image with 65535 program headers"},
	{"-kernel @/elf.phoff", "kernel image '@/elf.phoff' is cut short"},
	{"-kernel @/elf.memsz", "kernel image '@/elf.memsz': program header 0"},
	{"-kernel @/elf.offset", "kernel image '@/elf.offset': program header 0"},
	{"-kernel @/elf.addr", "kernel image '@/elf.addr': program header 0"},
	{"-kernel @/elf.arm", "kernel image '@/elf.arm': an ELF image for another processor"},
	{"-kernel @/elf.pvh -initrd @/none", "could not open initrd '@/none': no such file or directory"},
	{"-kernel @/elf.pvh -initrd @", "initrd '@' is not a regular file"},
	{"-kernel @/elf.pvh -initrd @/huge", "initrd '@/huge' ("},
	{"-kernel @/elf.pvh -m 1", "kernel image '@/elf.pvh' does not fit in RAM"},
	{"-bios @/none", "could not load firmware '@/none'"},
	{"-bios @", "firmware '@' is not a regular file"},
	{"-bios @/fifo", "firmware '@/fifo' is not a regular file"},
	{"-bios @/empty", "firmware '@/empty' has 0 bytes: it must be a multiple of 64 KiB"},
	{"-bios @/noise", "firmware '@/noise' has 1000 bytes: it must be a multiple of 64 KiB"},
	{"-bios @/huge", "firmware '@/huge' has 1073741824 bytes, more than"},
	{"-m 2E", "Address space limit 0x"},
	{"-device isa-debug-exit,bus=nope", "-device isa-debug-exit,bus=nope: Bus 'nope' not found"},
	{"-device isa-debug-exit,foo=1", "-device isa-debug-exit,foo=1: Property 'isa-debug-exit.foo' not found"},
	{"-device isa-debug-exit,iobase=abc", "-device isa-debug-exit,iobase=abc: Parameter 'iobase' expects"},
	{"-device isa-serial,chardev=nope", "-device isa-serial,chardev=nope: chardev 'nope' not found"},
	{"-serial chardev:nope", "chardev 'nope' not found"},
	{"-debugcon chardev:nope", "-debugcon"},
	{"-device loader,file=@/none,addr=0", "could not open loader file '@/none'"},
	{"-device loader,addr=0,data=1", "-device loader,addr=0,data=1: "},
	{"-cpu nope", "nope"},
	{"-fw_cfg opt/x,string=a -fw_cfg opt/x,string=b", "-fw_cfg opt/x: duplicate fw_cfg file name: opt/x"},
	{"-smbios foo=1", "-smbios foo=1: Must specify type= or file="},
	{"-smbios type=999", "-smbios type=999: "},
	{"-smbios file=@/none", "@/none"},
	{"-device isa-debug-exit,iobas=1", "Property 'isa-debug-exit.iobas' not found; did you mean 'iobase'?"},
	{"-device loader,addr=0,dat=1", "Property 'loader.dat' not found; did you mean 'data'?"},
	{"-cpu hots", "unable to find CPU model 'hots'; did you mean 'host'?"},
	{"-smbios type=1,manufacterer=x", "Invalid parameter 'manufacterer'; did you mean 'manufacturer'?"},
	{"-global isa-debug-exit.iobas=1 -device isa-debug-exit", "Property 'isa-debug-exit.iobas' not found; did you mean 'iobase'?"},
	{"-global isa-debug-exit.iobase=abc -device isa-debug-exit", "can't apply global isa-debug-exit.iobase=abc"},
}

// folder makes the files that the tables speak of.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // a short name: sockets are made there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	noise := bytes.Repeat([]byte("noise "), 200)[:1000]
	for name, data := range map[string][]byte{
		"ok": []byte("fine\n"), "empty": nil, "noise": noise,
		"bz.cut":     bzImage()[:4096],
		"elf.magic":  []byte("\x7fELF"),
		"elf.nonote": elf(elfFields{}),
		"elf.pvh":    elf(elfFields{pvh: true}),
		"elf.phnum":  elf(elfFields{phnum: 0xffff}),
		"elf.phoff":  elf(elfFields{phoff: 1 << 62}),
		"elf.memsz":  elf(elfFields{memsz: 1 << 62}),
		"elf.offset": elf(elfFields{offset: 1 << 62}),
		"elf.addr":   elf(elfFields{addr: 1 << 60}),
		"elf.arm":    elf(elfFields{machine: 183}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "huge"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "huge"), 1<<30); err != nil { // a hole: takes no room
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bzImage is the beginning of a kernel that says it is larger than it is.
func bzImage() []byte {
	b := make([]byte, 8192)
	b[0x1f1] = 4                                       // sectors of set-up code
	binary.LittleEndian.PutUint32(b[0x1f4:], 1<<20>>4) // of the rest, in 16 bytes
	copy(b[0x1fe:], "\x55\xaa\xeb\x70HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	b[0x211] = 1 // loaded high
	binary.LittleEndian.PutUint16(b[0x236:], 1)
	return b
}

// elfFields are what an ELF image differs in from a sound one; zero means sound.
type elfFields struct {
	machine, phnum uint16
	phoff, offset  uint64
	addr, memsz    uint64
	pvh            bool
}

// elf is an image of a kernel with one segment, and with a PVH note if wanted.
func elf(f elfFields) []byte {
	or := func(v, otherwise uint64) uint64 {
		if v == 0 {
			return otherwise
		}
		return v
	}
	b := make([]byte, 0x2000)
	le := binary.LittleEndian
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], uint16(or(uint64(f.machine), 62)))
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], 0x100000)
	le.PutUint64(b[32:], or(f.phoff, 64))
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	segments := uint64(1)
	header := func(at int, typ uint32, offset, addr, filesz, memsz uint64) {
		le.PutUint32(b[at:], typ)
		le.PutUint32(b[at+4:], 5)
		for i, v := range []uint64{offset, addr, addr, filesz, memsz, 0x1000} {
			le.PutUint64(b[at+8+8*i:], v)
		}
	}
	header(64, 1, or(f.offset, 0x1000), or(f.addr, 0x100000), 0x1000, or(f.memsz, 0x1000))
	if f.pvh {
		segments = 2
		header(120, 4, 0x200, 0, 24, 24)
		le.PutUint32(b[0x200:], 4)
		le.PutUint32(b[0x204:], 8)
		le.PutUint32(b[0x208:], 18)
		copy(b[0x20c:], "Xen\x00")
		le.PutUint64(b[0x210:], 0x100000)
	}
	le.PutUint16(b[56:], uint16(or(uint64(f.phnum), segments)))
	return b
}

func TestBadOptions(t *testing.T) { eachBad(t, badOptions, "") }

func TestBadMachines(t *testing.T) {
	for _, board := range []string{"pc", "microvm"} {
		t.Run(board, func(t *testing.T) { eachBad(t, badMachines, "-accel qtest -M "+board+" ") })
	}
}

// A machine that does not start says why, and nothing of the devices it would lack.
func TestOneLineWithDefaults(t *testing.T) {
	got := runIn(t, t.TempDir(), "-accel", "qtest", "-kernel", "none")
	if want := "govmd: could not open kernel image 'none': no such file or directory\n"; got.status != 1 || got.stderr != want {
		t.Errorf("status %d, %q, want %q", got.status, got.stderr, want)
	}
}

// How much memory a processor can address is a matter of its model.
func TestAddressSpace(t *testing.T) {
	eachBad(t, []bad{
		{"-m 100T", "Address space limit 0xffffffffff < 0x64003fffffff phys-bits too low (40)"},
		{"-m 1T", "Address space limit 0xffffffffff < 0x1003fffffff phys-bits too low (40)"},
	}, "-accel qtest -M pc ")
}

// With KVM more memory can be asked for than it takes, and more vCPUs.
func TestKVMBadMachines(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	eachBad(t, badMachines, "-accel kvm -cpu host ")
}

// Memory that KVM does not take ends the start: it maps 8 TiB at a time at most.
func TestKVMRefusesMemory(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	dir := folder(t)
	there := files(t, dir)
	got := runIn(t, dir, strings.Fields(common+"-cpu host,phys-bits=46 -m 9T "+
		"-object memory-backend-ram,id=m,size=9T,reserve=off -machine memory-backend=m")...)
	lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
	if len(lines) == 2 && strings.Contains(lines[0], "does not match phys-bits property") {
		lines = lines[1:]
	}
	const want = "govmd: KVM does not take guest memory 'ram-above-4g' at 0x100000000: "
	if got.status != 1 || len(lines) != 1 || !strings.HasPrefix(lines[0], want) {
		t.Errorf("status %d, %q, want %q", got.status, got.stderr, want)
	}
	if left := files(t, dir); left != there {
		t.Errorf("it leaves\n%s\nwhere there was\n%s", left, there)
	}
}

// Memory that a limit forbids is refused by that name, too.
func TestMemoryLimit(t *testing.T) {
	dir := folder(t)
	args := strings.Fields("-accel qtest -m 64G -nodefaults -display none -S")
	got := runShell(t, dir, "ulimit -v 8388608; exec "+program+" "+strings.Join(args, " "))
	if want := "govmd: cannot set up guest memory 'pc.ram'"; got.status != 1 || !strings.HasPrefix(got.stderr, want) || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("status %d, %q, want %q", got.status, got.stderr, want)
	}
}

func eachBad(t *testing.T, table []bad, before string) {
	dir := folder(t)
	busy, err := net.Listen("unix", filepath.Join(dir, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("@", dir, "PORT", port).Replace
	before = common + before
	there := files(t, dir)
	for _, c := range table {
		t.Run(c.args, func(t *testing.T) {
			got := runIn(t, dir, append(strings.Fields(before), strings.Fields(fill(c.args))...)...)
			if got.status != 1 {
				t.Errorf("exit status %d", got.status)
			}
			want := fill(c.want)
			if !strings.HasPrefix(got.stderr, "govmd: ") || !strings.Contains(got.stderr, want) {
				t.Errorf("says %q, want %q", got.stderr, want)
			}
			if strings.Count(got.stderr, "\n") != 1 || !strings.HasSuffix(got.stderr, "\n") {
				t.Errorf("%q is not one line", got.stderr)
			}
			if got.stdout != "" {
				t.Errorf("prints %q", got.stdout)
			}
			if left := files(t, dir); left != there {
				t.Errorf("it leaves\n%s\nwhere there was\n%s", left, there)
			}
		})
	}
}
