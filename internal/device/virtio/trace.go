package virtio

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceKick      = trace.New2[string, int]("virtio_queue_kick", "device %s queue %d")
	traceInterrupt = trace.New2[string, int]("virtio_queue_interrupt", "device %s queue %d")
	traceStatus    = trace.New3[string, uint8, uint8]("virtio_set_status", "device %s from %#x to %#x")
	traceReset     = trace.New1[string]("virtio_reset", "device %s")
	traceBroken    = trace.New2[string, error]("virtio_broken", "device %s error %v")
)
