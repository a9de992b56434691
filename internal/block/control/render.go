package control

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// WriteImage shows an image as "info block -v" and "govmd img info" do.
func WriteImage(w io.Writer, i *ImageInfo) {
	fmt.Fprintf(w, "image: %s\nfile format: %s\nvirtual size: %s (%d bytes)\n", i.Filename, i.Format, option.SizeText(uint64(i.VirtualSize)), i.VirtualSize)
	disk := "unavailable"
	if i.ActualSize != nil {
		disk = option.SizeText(uint64(*i.ActualSize))
	}
	fmt.Fprintf(w, "disk size: %s\n", disk)
	if i.Encrypted != nil && *i.Encrypted {
		fmt.Fprintln(w, "encrypted: yes")
	}
	if i.ClusterSize != nil {
		fmt.Fprintf(w, "cluster_size: %d\n", *i.ClusterSize)
	}
	if i.DirtyFlag != nil && *i.DirtyFlag {
		fmt.Fprintln(w, "cleanly shut down: no")
	}
	if i.Backing != nil {
		where := ""
		switch {
		case i.FullBacking == nil:
			where = " (cannot determine actual path)"
		case *i.FullBacking != *i.Backing:
			where = " (actual path: " + *i.FullBacking + ")"
		}
		fmt.Fprintf(w, "backing file: %s%s\n", *i.Backing, where)
		if i.BackingFormat != nil {
			fmt.Fprintf(w, "backing file format: %s\n", *i.BackingFormat)
		}
	}
	if i.Snapshots != nil {
		fmt.Fprintln(w, "Snapshot list:")
		WriteSnapshots(w, *i.Snapshots)
	}
	if i.Specific != nil {
		writeSpecific(w, i.Specific)
	}
}

// WriteSnapshots shows a table of internal snapshots.
func WriteSnapshots(w io.Writer, list []SnapshotInfo) {
	fmt.Fprintf(w, "%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT")
	for _, s := range list {
		clock := time.Duration(s.VMClockSec)*time.Second + time.Duration(s.VMClockNsec)
		text := fmt.Sprintf("%02d:%02d:%02d.%03d", int(clock.Hours()), int(clock.Minutes())%60, int(clock.Seconds())%60, clock.Milliseconds()%1000)
		count := ""
		if s.ICount != nil {
			count = fmt.Sprint(*s.ICount)
		}
		date := time.Unix(s.DateSec, 0).Format(time.DateTime)
		fmt.Fprintf(w, "%-9s %-16s %8s%20s%13s%11s\n", s.ID, s.Name, option.SizeText(uint64(s.VMStateSize)), date, text, count)
	}
}

// specificOrder is the order in which qemu-img, whose output people know, shows
// what a format says of its image; the rest follows.
var specificOrder = []string{"compat", "compression-type", "lazy-refcounts", "bitmaps", "refcount-bits", "encrypt", "corrupt", "extended-l2",
	"flags", "name", "granularity"}

func writeSpecific(w io.Writer, specific any) {
	doc, err := qjson.Parse(qmp.Append(nil, specific))
	if err != nil {
		return // it is what govmd has made
	}
	data, ok := qmp.ToAny(doc.Root().Get("data")).(*qmp.Object)
	if !ok {
		return
	}
	fmt.Fprintln(w, "Format specific information:")
	writeObject(w, data, 1)
}

func writeObject(w io.Writer, o *qmp.Object, depth int) {
	members := slices.Clone(o.Members())
	rank := func(m qmp.Member) int {
		if i := slices.Index(specificOrder, m.Name); i >= 0 {
			return i
		}
		return len(specificOrder)
	}
	slices.SortStableFunc(members, func(a, b qmp.Member) int { return rank(a) - rank(b) })
	for _, m := range members {
		writeValue(w, strings.ReplaceAll(m.Name, "-", " ")+":", m.Value, depth)
	}
}

func writeValue(w io.Writer, head string, v any, depth int) {
	indent := strings.Repeat("    ", depth)
	switch v := v.(type) {
	case *qmp.Object:
		fmt.Fprintf(w, "%s%s\n", indent, head)
		writeObject(w, v, depth+1)
	case []any:
		fmt.Fprintf(w, "%s%s\n", indent, head)
		for i, e := range v {
			writeValue(w, fmt.Sprintf("[%d]:", i), e, depth+1)
		}
	case nil:
		fmt.Fprintf(w, "%s%s null\n", indent, head)
	default:
		fmt.Fprintf(w, "%s%s %v\n", indent, head, v)
	}
}
