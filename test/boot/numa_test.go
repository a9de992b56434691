package boot

import (
	"testing"

	"govmd/test/guest"
	"govmd/test/vmtest"
)

// A stock kernel finds the nodes that its memory and processors are spread over,
// and how far they are from each other.
func TestGuestSeesNUMANodes(t *testing.T) {
	eachMachine(t, func(t *testing.T, machine string) {
		vm := vmtest.Start(t, vmtest.Options{Args: []string{
			"-M", machine, "-accel", "kvm", "-cpu", cpu, "-smp", "2", "-m", "256",
			"-object", "memory-backend-ram,id=m0,size=96M", "-object", "memory-backend-memfd,id=m1,size=160M",
			"-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1", "-numa", "dist,src=0,dst=1,val=33",
			"-kernel", kernel.ELF(), "-initrd", guestPath, "-append", "console=ttyS0 panic=-1 quiet",
		}})
		vm.Expect(guest.Ready)
		vm.Expect(guest.Prompt)
		vm.Type("cd /sys/devices/system/node; for n in 0 1; do echo node $n: $(cat node$n/cpulist) at $(cat node$n/distance); done; " +
			"awk '/MemTotal/ {print \"node\", $2, ($4 > 96*1024 ? \"large\" : \"small\")}' node?/meminfo\n")
		vm.Expect("node 0: 0 at 10 33")
		vm.Expect("node 1: 1 at 33 10")
		vm.Expect("node 0 small")
		vm.Expect("node 1 large")
		vm.Type("exit 0\n")
		vm.Expect(guest.Exit + "0")
		vm.ExpectExit(0)
	})
}
