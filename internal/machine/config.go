package machine

import (
	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"govmd/internal/block"
	"govmd/internal/chardev"
	"govmd/internal/event"
	"govmd/internal/fd"
	"govmd/internal/lane"
	"govmd/internal/machine/boot"
	"govmd/internal/machine/smbios"
	"govmd/internal/net"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/yank"
)

// Config is what a machine is made from. Options have been read and checked as
// far as one of them goes; what needs the machine is checked by New.
type Config struct {
	Name string
	UUID uuid.UUID // the zero UUID means none was given

	// Board is the board object with its properties set; see NewBoard.
	Board Board
	// Accel is "kvm" or "qtest".
	Accel         string
	CPU           string // -cpu, "" for the board's default
	SMP           SMP
	RAM           uint64 // bytes; 0 for that of Board's memory-backend
	MaxRAM, Slots uint64 // of memory that could be added: bytes in all, and pieces
	MemPath       string // file or directory that RAM is in, "" for none
	MemPrealloc   bool   // RAM is allocated at once
	NUMA          NUMA
	// CPUPM leaves HLT, PAUSE and MWAIT to the guest, whose idle vCPUs then keep
	// their CPUs (-overcommit cpu-pm=on). It is KVM's alone.
	CPUPM bool

	RTC  RTC
	Boot boot.Order

	// FirmwareDirs are searched for firmware files, first to last.
	FirmwareDirs []string
	// Serial holds the character devices of COM1 to COM4; "" for a port that is
	// not there.
	Serial [4]string
	// DebugCon is the character device of the debug console, or "".
	DebugCon string

	SMBIOS [][]smbios.Pair // one list for each -smbios
	FwCfg  []FwCfgItem
	// OptionROMs are run by the firmware at its start.
	OptionROMs []OptionROM
	Devices    []DeviceConfig
	Globals    []object.Default

	Policy runstate.Policy

	Lane   *lane.Lane
	Events *event.Bus
	Log    *logrus.Logger

	Chardevs *chardev.Registry
	Net      *net.Net // network back ends
	// Yanks knows whose connections can be cut; nil for nobody.
	Yanks *yank.Registry
	// Files opens files whose names may stand for descriptors.
	Files *fd.Table
	// OpenDrives opens the images and drives that devices are to find, and returns
	// the devices that drives bring along; nil for none.
	OpenDrives func(*block.Graph) ([]DeviceConfig, error)
	// Objects are the user-created objects. Guest memory is among them. Nil for none.
	Objects *object.Collection
}

// OptionROM is one -option-rom.
type OptionROM struct {
	File      string // as named, or in one of the firmware directories
	BootIndex int    // -1: firmware decides when it is started from
}

// DeviceConfig is one -device: its type, ID and properties, in order.
type DeviceConfig struct {
	Driver, ID, Bus string
	Props           []PropSetting
	Given           string // the option as it was given, for messages
}

// PropSetting is one property and its value: option text, or typed when it came
// as JSON.
type PropSetting struct {
	Name  string
	Text  string
	Value any // nil: Text counts
}

// FwCfgItem is one -fw_cfg: a named file for the firmware.
type FwCfgItem struct {
	Name string
	Data []byte
}

// RTC is the option -rtc.
type RTC struct {
	Base     string // "utc", "localtime", or a date
	Clock    string // "host", "rt" or "vm"
	DriftFix string // "none" or "slew"
}
