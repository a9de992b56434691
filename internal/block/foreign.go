package block

import (
	"bytes"
	"slices"
)

// unsupported are QEMU's drivers that govmd does not have, and how it names them: an
// image or a name that asks for one is refused, never taken for something else.
var unsupported = []string{
	// formats
	"bochs", "cloop", "dmg", "parallels", "qcow", "qed", "vvfat", "compress", "quorum", "replication", "snapshot-access",
	"blklogwrites", "blkreplay", "blkverify", "copy-before-write", "luks", "qcow2", "raw", "vdi", "vhdx", "vmdk", "vpc",
	// protocols
	"file", "ftp", "ftps", "gluster", "host_cdrom", "host_device", "http", "https", "io_uring", "iscsi", "nfs", "null-aio",
	"null-co", "nvme", "nvme-io_uring", "rbd", "sheepdog", "ssh", "tftp", "virtio-blk-vfio-pci", "virtio-blk-vhost-user",
	"virtio-blk-vhost-vdpa", "vxhs", "blkdebug",
}

// unsupportedPrefixes are those of names that these protocols serve, where they are
// not called as the protocol is.
var unsupportedPrefixes = []string{"fat", "gluster+tcp", "gluster+unix", "gluster+rdma", "iser", "sheepdog+tcp", "sheepdog+unix"}

func init() {
	for _, name := range unsupported {
		optionsUnion.Refuse(name, "govmd does not support it")
		createUnion.Refuse(name, "govmd cannot make such images")
	}
}

// UnknownDriver is the error for a driver that does not exist.
func UnknownDriver(name string) error {
	if slices.Contains(unsupported, name) {
		return Errorf(KindUnsupported, "Driver '%s' is not supported by govmd", name)
	}
	return Errorf(KindInvalid, "Unknown driver '%s'", name)
}

// UnknownFormat is the error for a format that does not exist.
func UnknownFormat(name string) error {
	if slices.Contains(unsupported, name) {
		return UnknownDriver(name)
	}
	return Errorf(KindInvalid, "Unknown file format '%s'", name)
}

// unknownProtocol is the error for a file name's prefix.
func unknownProtocol(prefix string) error {
	if slices.Contains(unsupported, prefix) || slices.Contains(unsupportedPrefixes, prefix) {
		return Errorf(KindUnsupported, "Protocol '%s' is not supported by govmd", prefix)
	}
	return Errorf(KindUnsupported, "Unknown protocol '%s'", prefix)
}

// signatures begin images of formats that govmd does not have.
var signatures = []struct{ format, head string }{
	{"qcow", "QFI\xfb\x00\x00\x00\x01"},
	{"qed", "QED\x00"},
	{"parallels", "WithoutFreeSpace"},
	{"parallels", "WithouFreSpacExt"},
	{"bochs", "Bochs Virtual HD Image\x00"},
	{"cloop", "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"},
}

// foreign returns the name of the format, one that govmd does not have, that an
// image begins like, or "".
func foreign(head []byte) string {
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.head)) {
			return s.format
		}
	}
	return ""
}
