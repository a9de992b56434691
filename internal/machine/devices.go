package machine

// Devices that nothing here names, but users do: they register their types.
import (
	_ "govmd/internal/device/ahci"
	_ "govmd/internal/device/ata"
	_ "govmd/internal/device/debugcon"
	_ "govmd/internal/device/debugexit"
	_ "govmd/internal/device/i8042"
	_ "govmd/internal/device/i8257"
	_ "govmd/internal/device/nvme"
	_ "govmd/internal/device/port92"
	_ "govmd/internal/device/pvpanic"
	_ "govmd/internal/device/rngbackend"
	_ "govmd/internal/device/serial"
	_ "govmd/internal/device/virtio/blk"
	_ "govmd/internal/device/virtio/console"
	_ "govmd/internal/device/virtio/pcitransport"
	_ "govmd/internal/device/virtio/rng"
	_ "govmd/internal/device/virtio/vnet"
	_ "govmd/internal/device/virtio/vscsi"
	_ "govmd/internal/device/watchdog"
)
