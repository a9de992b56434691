package vmdk

import (
	"context"

	"govmd/internal/block"
)

// SpecificInfo is the format-specific information of query-block.
type SpecificInfo struct {
	Type string       `qmp:"type"`
	Data SpecificData `qmp:"data"`
}

// SpecificData is ImageInfoSpecificVmdk.
type SpecificData struct {
	CID        int64        `qmp:"cid"`
	ParentCID  int64        `qmp:"parent-cid"`
	CreateType string       `qmp:"create-type"`
	Extents    []ExtentInfo `qmp:"extents"`
}

// ExtentInfo is VmdkExtentInfo.
type ExtentInfo struct {
	Compressed  *bool  `qmp:"compressed"`
	VirtualSize int64  `qmp:"virtual-size"`
	Filename    string `qmp:"filename"`
	ClusterSize *int64 `qmp:"cluster-size"`
	Format      string `qmp:"format"`
}

// Info says what is known of the image.
func (d *image) Info() block.Info {
	i := block.Info{AllocatedBytes: -1, ZeroInit: true, UnallocZero: true, BackingFile: d.desc.parent}
	if d.desc.parent != "" {
		i.BackingFormat = "vmdk"
	}
	data := SpecificData{CID: int64(d.desc.cid), ParentCID: int64(d.desc.parentCID), CreateType: d.desc.createType}
	for k := range d.extents {
		x := &d.extents[k]
		e := ExtentInfo{VirtualSize: x.end - x.start, Filename: x.file.Node().FileName()}
		switch {
		case x.sparse == nil:
			e.Format = "FLAT"
			i.ZeroInit = i.ZeroInit && x.file.Node().Info().ZeroInit
		default:
			if x.file != d.file {
				e.Format = "SPARSE"
			}
			e.ClusterSize = &x.sparse.grain
			i.ClusterSize = int(x.sparse.grain)
			if x.sparse.hdr.flags&flagCompressed != 0 {
				yes := true
				e.Compressed = &yes
			}
		}
		data.Extents = append(data.Extents, e)
	}
	i.Specific = &SpecificInfo{Type: "vmdk", Data: data}
	return i
}

// Check implements block.Checker.
func (d *image) Check(ctx context.Context, fix block.Fix) (r block.CheckResult, err error) {
	if fix != 0 {
		return r, block.ErrUnsupp
	}
	return r, nil
}
