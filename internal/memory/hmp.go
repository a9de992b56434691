package memory

import (
	"fmt"
	"io"
	"sort"

	"govmd/internal/qmp"
)

// InfoCommands returns the second words of `info` about memory. Slot is that of
// DumpOptions.
func (s *System) InfoCommands(slot func(Section) bool) []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "mtree", Args: "flatview:-f,owner:-o,disabled:-D", Params: "[-f][-o][-D]",
			Help: "show memory tree (-f: dump flat view for address spaces;-o: dump region owners/parents;-D: dump disabled regions",
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				opt := DumpOptions{Owners: a.Bool("owner"), Disabled: a.Bool("disabled"), Slot: slot}
				if a.Bool("flatview") {
					s.DumpFlat(out, opt)
				} else {
					s.Dump(out, opt)
				}
				return nil
			},
		},
		{
			Name: "ramblock", Help: "Display system ramblock information",
			Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				s.dumpBlocks(out)
				return nil
			},
		},
	}
}

func (s *System) dumpBlocks(w io.Writer) {
	blocks := s.Blocks()
	offsets := map[*Block]uint64{}
	next := uint64(0)
	for _, b := range blocks {
		offsets[b] = next
		next += b.Size()
	}
	sort.SliceStable(blocks, func(i, j int) bool { return blocks[i].Size() > blocks[j].Size() })
	fmt.Fprintf(w, "%24s %8s  %18s %18s %18s\n", "Block Name", "PSize", "Offset", "Used", "Total")
	for _, b := range blocks {
		fmt.Fprintf(w, "%24s %8s  0x%016x 0x%016x 0x%016x\n", b.Name(), pageText(b.PageSize()), offsets[b], b.Size(), b.Size())
	}
}

func pageText(n uint64) string {
	switch {
	case n>>30 > 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n>>20 > 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
