// Package drivers names the drivers that a program has: importing it registers them.
package drivers

import (
	_ "govmd/internal/block/blkdebug"
	_ "govmd/internal/block/file"
	_ "govmd/internal/block/filter"
	_ "govmd/internal/block/luks"
	_ "govmd/internal/block/nbd"
	_ "govmd/internal/block/null"
	_ "govmd/internal/block/qcow2"
	_ "govmd/internal/block/raw"
	_ "govmd/internal/block/vdi"
	_ "govmd/internal/block/vhdx"
	_ "govmd/internal/block/vmdk"
	_ "govmd/internal/block/vpc"
)
