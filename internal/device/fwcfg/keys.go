package fwcfg

// Keys of well-known items.
const (
	KeySignature     = 0x00 // "QEMU"
	KeyID            = 0x01 // features, uint32
	KeyUUID          = 0x02 // 16 bytes
	KeyRAMSize       = 0x03 // uint64
	KeyNoGraphic     = 0x04 // uint16
	KeyCPUs          = 0x05 // uint16
	KeyMachineID     = 0x06
	KeyKernelAddr    = 0x07 // uint32
	KeyKernelSize    = 0x08 // uint32
	KeyKernelCmdline = 0x09
	KeyInitrdAddr    = 0x0a // uint32
	KeyInitrdSize    = 0x0b // uint32
	KeyBootDevice    = 0x0c // uint16
	KeyNUMA          = 0x0d // uint64 each
	KeyBootMenu      = 0x0e // uint16
	KeyMaxCPUs       = 0x0f // uint16
	KeyKernelEntry   = 0x10 // uint32
	KeyKernelData    = 0x11
	KeyInitrdData    = 0x12
	KeyCmdlineAddr   = 0x13 // uint32
	KeyCmdlineSize   = 0x14 // uint32
	KeyCmdlineData   = 0x15
	KeySetupAddr     = 0x16 // uint32
	KeySetupSize     = 0x17 // uint32
	KeySetupData     = 0x18
	KeyFileDir       = 0x19

	keyFileFirst = 0x20 // the first file's
)

// Keys of items that only x86 has.
const (
	KeyACPITables    = keyArchLocal
	KeySMBIOSEntries = keyArchLocal | 1
	KeyIRQ0Override  = keyArchLocal | 2 // uint8
	KeyE820Table     = keyArchLocal | 3
	KeyHPET          = keyArchLocal | 4
)

const (
	keyArchLocal    = 0x8000
	keyWriteChannel = 0x4000 // of old; ignored
	keyInvalid      = 0xffff // nothing is selected
)

// Names of well-known files.
const (
	FileBootOrder     = "bootorder"
	FileE820          = "etc/e820"
	FileRSDP          = "etc/acpi/rsdp"
	FileACPITables    = "etc/acpi/tables"
	FileTableLoader   = "etc/table-loader"
	FileSMBIOSAnchor  = "etc/smbios/smbios-anchor"
	FileSMBIOSTables  = "etc/smbios/smbios-tables"
	FileSerialConsole = "etc/sercon-port" // uint16: the port where SeaBIOS shows its console
	FileSystemStates  = "etc/system-states"
	FileBootFailWait  = "etc/boot-fail-wait"
	FileMenuWait      = "etc/boot-menu-wait"
	FileShowBootMenu  = "etc/show-boot-menu"
	FileMaxCPUs       = "etc/max-cpus"
)
