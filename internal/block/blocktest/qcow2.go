package blocktest

import (
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

// Qcow2Options returns options for creating a qcow2 image in the file of that id.
func Qcow2Options(id string, size int64) *qcow2.CreateOptions {
	return &qcow2.CreateOptions{File: Ref(id), Size: qmp.Size(size)}
}
