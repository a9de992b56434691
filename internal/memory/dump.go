package memory

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

// DumpOptions says what a dump of regions shows beside them.
type DumpOptions struct {
	Owners   bool
	Disabled bool // regions that are not enabled
	// Slot reports whether the accelerator maps a section itself; nil for none.
	Slot func(Section) bool
}

// dumper writes trees of regions.
type dumper struct {
	w       io.Writer
	opt     DumpOptions
	targets []*Region // roots of trees that aliases show, in the order of their finding
}

// Dump writes the trees of regions of all spaces, and then those that their
// aliases show, in the form that `info mtree` has.
func (s *System) Dump(w io.Writer, opt DumpOptions) {
	s.begin()
	defer s.end()
	d := &dumper{w: w, opt: opt}
	for _, sp := range s.spaces {
		fmt.Fprintf(w, "address-space: %s\n", sp.name)
		d.region(sp.root, 1, 0)
		fmt.Fprintln(w)
	}
	for i := 0; i < len(d.targets); i++ { // it grows
		fmt.Fprintf(w, "memory-region: %s\n", d.targets[i].name)
		d.region(d.targets[i], 1, 0)
		fmt.Fprintln(w)
	}
}

func (d *dumper) region(r *Region, level int, base uint64) {
	first := base + r.offset
	if !r.off || d.opt.Disabled {
		d.line(r, level, first)
	}
	if r.kind == kindAlias {
		d.target(r.target.top())
		return
	}
	sorted := slices.Clone(r.children) // highest priority first
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].offset < sorted[j].offset })
	for _, c := range sorted {
		d.region(c, level+1, first)
	}
}

func (d *dumper) line(r *Region, level int, first uint64) {
	fmt.Fprintf(d.w, "%s%016x-%016x (prio %d, %s): ", strings.Repeat("  ", level), first, addSat(first, r.last), r.priority, r.what())
	if r.kind == kindAlias {
		fmt.Fprintf(d.w, "alias %s @%s %016x-%016x", r.name, r.target.name, r.aliasOff, addSat(r.aliasOff, r.last))
	} else {
		fmt.Fprint(d.w, r.name)
	}
	if r.off {
		fmt.Fprint(d.w, " [disabled]")
	}
	d.owner(r)
	fmt.Fprintln(d.w)
}

func (d *dumper) owner(r *Region) {
	if !d.opt.Owners {
		return
	}
	for ; r != nil; r = r.parent {
		if r.owner != nil {
			fmt.Fprintf(d.w, " owner:{%s}", r.owner())
			return
		}
	}
}

// target notes that the tree of t is to be shown.
func (d *dumper) target(t *Region) {
	if !t.inUse && !slices.Contains(d.targets, t) {
		d.targets = append(d.targets, t)
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
	case !r.rom && !r.readOnly:
		return "ram"
	case r.ops != nil:
		return "romd"
	}
	return "rom"
}

// DumpFlat writes what is mapped in each space, in the form that `info mtree -f` has.
func (s *System) DumpFlat(w io.Writer, opt DumpOptions) {
	s.begin()
	defer s.end()
	d := &dumper{w: w, opt: opt}
	for i, sp := range s.spaces {
		fmt.Fprintf(w, "FlatView #%d\n AS \"%s\", root: %s\n Root memory region: %s\n", i, sp.name, sp.root.name, sp.root.name)
		sections := sp.FlatView()
		if len(sections) == 0 {
			fmt.Fprintln(w, "  No rendered FlatView")
		}
		for _, sec := range sections {
			d.section(sec)
		}
		fmt.Fprintln(w)
	}
}

func (d *dumper) section(s Section) {
	what := s.Region.what()
	if what == "ram" && s.ReadOnly {
		what = "rom"
	}
	fmt.Fprintf(d.w, "  %016x-%016x (prio %d, %s): %s", s.Addr, s.Last(), s.Region.priority, what, s.Region.name)
	if s.RegionOffset != 0 {
		fmt.Fprintf(d.w, " @%016x", s.RegionOffset)
	}
	if d.opt.Slot != nil && d.opt.Slot(s) {
		fmt.Fprint(d.w, " KVM")
	}
	d.owner(s.Region)
	fmt.Fprintln(d.w)
}
