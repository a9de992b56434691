package blk

import (
	"errors"

	"govmd/internal/device/drive"
)

var errRequest = errors.New("request without a header of 16 bytes, or without room for a status")

const noDiscard = drive.NoDiscard
