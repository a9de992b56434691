package control

import (
	"govmd/internal/block"
)

// SnapshotInfo describes an internal snapshot.
type SnapshotInfo struct {
	ID          string `qmp:"id"`
	Name        string `qmp:"name"`
	VMStateSize int64  `qmp:"vm-state-size"`
	DateSec     int64  `qmp:"date-sec"`
	DateNsec    int64  `qmp:"date-nsec"`
	VMClockSec  int64  `qmp:"vm-clock-sec"`
	VMClockNsec int64  `qmp:"vm-clock-nsec"`
	ICount      *int64 `qmp:"icount"`
}

// SnapshotOf returns the description of a snapshot.
func SnapshotOf(s *block.Snapshot) SnapshotInfo {
	i := SnapshotInfo{
		ID: s.ID, Name: s.Name, VMStateSize: s.VMStateSize, DateSec: s.DateSec, DateNsec: int64(s.DateNsec),
		VMClockSec: s.VMClockNsec / 1e9, VMClockNsec: s.VMClockNsec % 1e9,
	}
	if s.ICount >= 0 {
		i.ICount = &s.ICount
	}
	return i
}

// ImageInfo describes an image, as query-block and "govmd img info" do.
type ImageInfo struct {
	Filename      string          `qmp:"filename"`
	Format        string          `qmp:"format"`
	DirtyFlag     *bool           `qmp:"dirty-flag"`
	ActualSize    *int64          `qmp:"actual-size"`
	VirtualSize   int64           `qmp:"virtual-size"`
	ClusterSize   *int64          `qmp:"cluster-size"`
	Encrypted     *bool           `qmp:"encrypted"`
	Compressed    *bool           `qmp:"compressed"`
	Backing       *string         `qmp:"backing-filename"`
	BackingAlias  *string         `qmp:"backing_file"` // what the command reference calls it; QEMU has the name above
	FullBacking   *string         `qmp:"full-backing-filename"`
	BackingFormat *string         `qmp:"backing-filename-format"`
	Snapshots     *[]SnapshotInfo `qmp:"snapshots"`
	BackingImage  *ImageInfo      `qmp:"backing-image"`
	Specific      any             `qmp:"format-specific,optional"`
}

// ImageOf describes one image, without what is behind it.
func ImageOf(n *block.Node) *ImageInfo {
	i := n.Info()
	if n.Type().Filter {
		i.Specific, i.BackingFile = nil, "" // these are what it filters
	}
	info := &ImageInfo{
		Filename: n.FileName(), Format: n.DriverName(), VirtualSize: (n.Length() + 511) &^ 511, Specific: i.Specific,
		DirtyFlag: &i.Dirty,
	}
	if size := n.AllocatedBytes(); size >= 0 {
		info.ActualSize = &size
	}
	if i.ClusterSize > 0 {
		size := int64(i.ClusterSize)
		info.ClusterSize = &size
	}
	if i.Encrypted {
		info.Encrypted = &i.Encrypted
	}
	if i.Compressed {
		info.Compressed = &i.Compressed
	}
	if i.BackingFile != "" {
		info.Backing = &i.BackingFile
		if full, err := n.ResolveBacking(i.BackingFile); err == nil {
			info.FullBacking = &full
		}
		if i.BackingFormat != "" {
			info.BackingFormat = &i.BackingFormat
		}
	}
	if s, ok := n.Driver().(block.Snapshotter); ok {
		if list := s.Snapshots(); len(list) > 0 {
			infos := make([]SnapshotInfo, len(list))
			for k := range list {
				infos[k] = SnapshotOf(&list[k])
			}
			info.Snapshots = &infos
		}
	}
	return info
}

// ChainOf describes an image and what is behind it.
func ChainOf(n *block.Node) *ImageInfo {
	top := ImageOf(n)
	for last := top; ; last = last.BackingImage {
		if n = n.BackingChainNext(); n == nil {
			return top
		}
		last.BackingImage = ImageOf(n)
	}
}
