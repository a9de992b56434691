package blk

import "errors"

var errRequest = errors.New("request without a header of 16 bytes, or without room for a status")
