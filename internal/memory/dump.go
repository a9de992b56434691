package memory

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

// Dump writes the space's tree of regions, and then the trees that its aliases
// show, in the form that `info mtree` has.
func (sp *Space) Dump(w io.Writer) {
	sp.sys.begin()
	defer sp.sys.end()
	fmt.Fprintf(w, "address-space: %s\n", sp.name)
	var targets []*Region
	sp.root.dump(w, 1, 0, &targets)
	for i := 0; i < len(targets); i++ { // it grows
		fmt.Fprintf(w, "\nmemory-region: %s\n", targets[i].name)
		targets[i].dump(w, 1, 0, &targets)
	}
	fmt.Fprintln(w)
}

func (r *Region) dump(w io.Writer, level int, base uint64, targets *[]*Region) {
	first := base + r.offset
	suffix := ""
	if r.off {
		suffix = " [disabled]"
	}
	fmt.Fprintf(w, "%s%016x-%016x (prio %d, %s): ", strings.Repeat("  ", level), first, addSat(first, r.last), r.priority, r.what())
	if r.kind == kindAlias {
		fmt.Fprintf(w, "alias %s @%s %016x-%016x%s\n", r.name, r.target.name, r.aliasOff, addSat(r.aliasOff, r.last), suffix)
		for _, t := range *targets {
			if t == r.target.top() {
				return
			}
		}
		if t := r.target.top(); !t.inUse {
			*targets = append(*targets, t)
		}
		return
	}
	fmt.Fprintf(w, "%s%s\n", r.name, suffix)
	sorted := slices.Clone(r.children) // highest priority first
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].offset < sorted[j].offset })
	for _, c := range sorted {
		c.dump(w, level+1, first, targets)
	}
}

// top returns the root of the tree that r is in.
func (r *Region) top() *Region {
	for r.parent != nil {
		r = r.parent
	}
	return r
}

// what names the kind of the region.
func (r *Region) what() string {
	switch {
	case r.kind == kindAlias:
		return r.target.what()
	case r.kind != kindRAM:
		return "i/o"
	case r.ops != nil && (r.rom || r.readOnly):
		return "romd"
	case r.rom || r.readOnly:
		return "rom"
	}
	return "ram"
}

// DumpFlat writes what is mapped in the space, in the form that `info mtree -f` has.
func (sp *Space) DumpFlat(w io.Writer) {
	sp.sys.begin()
	defer sp.sys.end()
	fmt.Fprintf(w, "FlatView\n AS \"%s\", root: %s\n Root memory region: %s\n", sp.name, sp.root.name, sp.root.name)
	sections := sp.FlatView()
	if len(sections) == 0 {
		fmt.Fprintf(w, "  No rendered FlatView\n")
	}
	for _, s := range sections {
		what := s.Region.what()
		if what == "ram" && s.ReadOnly {
			what = "rom"
		}
		fmt.Fprintf(w, "  %016x-%016x (prio %d, %s): %s", s.Addr, s.Last(), s.Region.priority, what, s.Region.name)
		if s.RegionOffset != 0 {
			fmt.Fprintf(w, " @%016x", s.RegionOffset)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}
