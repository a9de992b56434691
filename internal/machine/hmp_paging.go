package machine

import (
	"errors"
	"fmt"
	"io"

	"govmd/internal/qmp"
)

// pagingInfoCommands are the second words of `info` about page tables. They wait for a
// vCPU, and so do not run on the lane.
func (m *Machine) pagingInfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "mem", Help: "show the active virtual memory mappings", NoLane: true,
			Run: func(ctx *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				return m.eachPage(ctx, out, showRanges)
			},
		},
		{
			Name: "tlb", Help: "show virtual to physical memory mappings", NoLane: true,
			Run: func(ctx *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				return m.eachPage(ctx, out, showPages)
			},
		},
	}
}

// eachPage has show walk the page tables of the vCPU that a command is about.
func (m *Machine) eachPage(ctx *qmp.Context, out io.Writer, show func(out io.Writer, p *paging, walk pageWalk) error) error {
	c, err := m.cpuOf(ctx)
	if err != nil {
		return err
	}
	r, err := c.registers()
	if err != nil {
		return err
	}
	p := pagingOf(&r.Sregs)
	if p == nil {
		_, err := io.WriteString(out, "PG disabled\n")
		return err
	}
	err = show(out, p, func(visit func(mapping) error) error { return p.walk(ctx, m.readPhysical, visit) })
	if errors.Is(err, errTooManyTables) {
		_, err = fmt.Fprintln(out, err)
	}
	return err
}

// pageWalk calls visit for all pages.
type pageWalk func(visit func(mapping) error) error

// showPages is `info tlb`: a line for each page.
func showPages(out io.Writer, p *paging, walk pageWalk) error {
	return walk(func(m mapping) error {
		flags := []byte("---------")
		for i, bit := range [...]uint{63, 8, 7, 6, 5, 4, 3, 2, 1} {
			if m.entry>>bit&1 != 0 {
				flags[i] = "XGPDACTUW"[i]
			}
		}
		_, err := fmt.Fprintf(out, "%016x: %016x %s\n", p.extended(m.virtual), m.physical, flags)
		return err
	})
}

// showRanges is `info mem`: a line for all pages that follow each other and allow the same.
func showRanges(out io.Writer, p *paging, walk pageWalk) error {
	var start, end, access uint64
	flush := func() error {
		if start == end {
			return nil
		}
		user, write := '-', '-'
		if access&pteUser != 0 {
			user = 'u'
		}
		if access&pteWrite != 0 {
			write = 'w'
		}
		_, err := fmt.Fprintf(out, "%016x-%016x %016x %cr%c\n", p.extended(start), p.extended(end), end-start, user, write)
		return err
	}
	err := walk(func(m mapping) error {
		if start != end && m.virtual == end && m.access == access {
			end += m.size
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		start, end, access = m.virtual, m.virtual+m.size, m.access
		return nil
	})
	if err != nil && !errors.Is(err, errTooManyTables) {
		return err
	}
	if e := flush(); e != nil {
		return e
	}
	return err
}
