package control

import (
	"time"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

type statsArgs struct {
	Nodes *bool `qmp:"query-nodes"`
}

// timedStats are the latencies within an interval, in ns, and mean queue depths.
type timedStats struct {
	Interval   int64   `qmp:"interval_length"` // seconds
	MinRead    int64   `qmp:"min_rd_latency_ns"`
	MaxRead    int64   `qmp:"max_rd_latency_ns"`
	AvgRead    int64   `qmp:"avg_rd_latency_ns"`
	MinWrite   int64   `qmp:"min_wr_latency_ns"`
	MaxWrite   int64   `qmp:"max_wr_latency_ns"`
	AvgWrite   int64   `qmp:"avg_wr_latency_ns"`
	MinFlush   int64   `qmp:"min_flush_latency_ns"`
	MaxFlush   int64   `qmp:"max_flush_latency_ns"`
	AvgFlush   int64   `qmp:"avg_flush_latency_ns"`
	ReadDepth  float64 `qmp:"avg_rd_queue_depth"`
	WriteDepth float64 `qmp:"avg_wr_queue_depth"`
}

type histogramInfo struct {
	Boundaries []uint64 `qmp:"boundaries"`
	Bins       []uint64 `qmp:"bins"`
}

// accounts is BlockDeviceStats.
type accounts struct {
	ReadBytes      uint64         `qmp:"rd_bytes"`
	WriteBytes     uint64         `qmp:"wr_bytes"`
	UnmapBytes     uint64         `qmp:"unmap_bytes"`
	ReadOps        uint64         `qmp:"rd_operations"`
	WriteOps       uint64         `qmp:"wr_operations"`
	FlushOps       uint64         `qmp:"flush_operations"`
	UnmapOps       uint64         `qmp:"unmap_operations"`
	ReadTime       int64          `qmp:"rd_total_time_ns"`
	WriteTime      int64          `qmp:"wr_total_time_ns"`
	FlushTime      int64          `qmp:"flush_total_time_ns"`
	UnmapTime      int64          `qmp:"unmap_total_time_ns"`
	HighestOffset  int64          `qmp:"wr_highest_offset"`
	ReadMerged     uint64         `qmp:"rd_merged"`
	WriteMerged    uint64         `qmp:"wr_merged"`
	UnmapMerged    uint64         `qmp:"unmap_merged"`
	Idle           *int64         `qmp:"idle_time_ns"`
	ReadFailed     uint64         `qmp:"failed_rd_operations"`
	WriteFailed    uint64         `qmp:"failed_wr_operations"`
	FlushFailed    uint64         `qmp:"failed_flush_operations"`
	UnmapFailed    uint64         `qmp:"failed_unmap_operations"`
	ReadInvalid    uint64         `qmp:"invalid_rd_operations"`
	WriteInvalid   uint64         `qmp:"invalid_wr_operations"`
	FlushInvalid   uint64         `qmp:"invalid_flush_operations"`
	UnmapInvalid   uint64         `qmp:"invalid_unmap_operations"`
	AccountInvalid bool           `qmp:"account_invalid"`
	AccountFailed  bool           `qmp:"account_failed"`
	Timed          []timedStats   `qmp:"timed_stats"`
	ReadLatency    *histogramInfo `qmp:"rd_latency_histogram"`
	WriteLatency   *histogramInfo `qmp:"wr_latency_histogram"`
	FlushLatency   *histogramInfo `qmp:"flush_latency_histogram"`
}

// blockStats is BlockStats: accounts of a drive or a node, and of what is below it.
type blockStats struct {
	Device   *string     `qmp:"device"`
	QDev     *string     `qmp:"qdev"`
	NodeName *string     `qmp:"node-name"`
	Stats    accounts    `qmp:"stats"`
	Specific any         `qmp:"driver-specific,optional"`
	Parent   *blockStats `qmp:"parent"`
	Backing  *blockStats `qmp:"backing"`
}

func (a *accounts) fill(s *block.Stats) {
	r, w, f, u := s.Counts(block.AcctRead), s.Counts(block.AcctWrite), s.Counts(block.AcctFlush), s.Counts(block.AcctUnmap)
	a.ReadBytes, a.WriteBytes, a.UnmapBytes = r.Bytes, w.Bytes, u.Bytes
	a.ReadOps, a.WriteOps, a.FlushOps, a.UnmapOps = r.Ops, w.Ops, f.Ops, u.Ops
	a.ReadTime, a.WriteTime, a.FlushTime, a.UnmapTime = r.TotalTime, w.TotalTime, f.TotalTime, u.TotalTime
	a.ReadMerged, a.WriteMerged, a.UnmapMerged = r.Merged, w.Merged, u.Merged
	a.ReadFailed, a.WriteFailed, a.FlushFailed, a.UnmapFailed = r.Failed, w.Failed, f.Failed, u.Failed
	a.ReadInvalid, a.WriteInvalid, a.FlushInvalid, a.UnmapInvalid = r.Invalid, w.Invalid, f.Invalid, u.Invalid
	a.AccountInvalid, a.AccountFailed = s.Accounting()
	if ns, ok := s.Idle(); ok {
		a.Idle = &ns
	}
	for _, t := range s.Intervals() {
		a.Timed = append(a.Timed, timedStats{
			Interval: int64(t.Interval / time.Second),
			MinRead:  t.Min[block.AcctRead], MaxRead: t.Max[block.AcctRead], AvgRead: t.Avg[block.AcctRead],
			MinWrite: t.Min[block.AcctWrite], MaxWrite: t.Max[block.AcctWrite], AvgWrite: t.Avg[block.AcctWrite],
			MinFlush: t.Min[block.AcctFlush], MaxFlush: t.Max[block.AcctFlush], AvgFlush: t.Avg[block.AcctFlush],
			ReadDepth: t.QueueDepth[block.AcctRead], WriteDepth: t.QueueDepth[block.AcctWrite],
		})
	}
	histogram := func(k block.Acct) *histogramInfo {
		h := s.Histogram(k)
		if h == nil {
			return nil
		}
		return &histogramInfo{h.Boundaries, h.Bins}
	}
	a.ReadLatency, a.WriteLatency, a.FlushLatency = histogram(block.AcctRead), histogram(block.AcctWrite), histogram(block.AcctFlush)
}

// nodeStats returns what is known of a node; deep adds what is below it.
func nodeStats(n *block.Node, deep bool) *blockStats {
	name := n.Name()
	s := &blockStats{NodeName: &name, Specific: n.Info().Statistics}
	s.Stats.Timed = []timedStats{}
	s.Stats.HighestOffset = n.MaxWriteOffset()
	if !deep {
		return s
	}
	if p := n.Primary(); p != nil {
		s.Parent = nodeStats(p, true)
	}
	if b := n.Backing(); b != nil {
		s.Backing = nodeStats(b, true)
	}
	return s
}

func (c *Control) queryStats(nodes bool) []*blockStats {
	list := []*blockStats{}
	if nodes {
		for _, n := range c.graph.Nodes() {
			list = append(list, nodeStats(n, false))
		}
		return list
	}
	for _, b := range c.shown() {
		s := &blockStats{}
		s.Stats.Timed = []timedStats{}
		if n := rootOf(b); n != nil {
			s = nodeStats(n, true)
		}
		name := b.Name()
		s.Device = &name
		if b.Device() != nil {
			id := b.DeviceName()
			s.QDev = &id
		}
		s.Stats.fill(b.Stats())
		list = append(list, s)
	}
	return list
}

type histogramArgs struct {
	ID         string    `qmp:"id"`
	Boundaries *[]uint64 `qmp:"boundaries"`
	Read       *[]uint64 `qmp:"boundaries-read"`
	Write      *[]uint64 `qmp:"boundaries-write"`
	Flush      *[]uint64 `qmp:"boundaries-flush"`
}

// setHistogram is block-latency-histogram-set: without boundaries it ends all
// histograms.
func (c *Control) setHistogram(_ *qmp.Context, a *histogramArgs) (qmp.None, error) {
	b, err := c.byDevice(a.ID)
	if err != nil {
		return qmp.None{}, err
	}
	s := b.Stats()
	none := a.Boundaries == nil && a.Read == nil && a.Write == nil && a.Flush == nil
	for _, h := range []struct {
		kind block.Acct
		own  *[]uint64
		what string
	}{{block.AcctRead, a.Read, "read"}, {block.AcctWrite, a.Write, "write"}, {block.AcctFlush, a.Flush, "flush"}} {
		bounds := h.own
		if bounds == nil {
			bounds = a.Boundaries
		}
		switch {
		case none:
			err = s.SetHistogram(h.kind, nil)
		case bounds != nil && (len(*bounds) == 0 || s.SetHistogram(h.kind, *bounds) != nil):
			err = qmp.Errorf("Device '%s' set %s boundaries fail", a.ID, h.what)
		}
		if err != nil {
			return qmp.None{}, err
		}
	}
	return qmp.None{}, nil
}
