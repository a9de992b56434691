package file

import "govmd/internal/block"

// newEngine returns the engine of an aio mode; nil for plain system calls.
func newEngine(a AIO, _ *Options) (engine, error) {
	if a != Threads {
		return nil, block.Errorf(block.KindUnsupported, "aio=%s is not supported yet", a)
	}
	return nil, nil
}
