package main

import (
	"fmt"

	"govmd/internal/machine"
	"govmd/internal/object"
	"govmd/internal/option"
)

// numaSetup is one -numa.
type numaSetup struct {
	list  option.List
	given string
}

func applyNUMA(s *setup, given, text string) error {
	list := option.Parse(text, "type")
	if kind, _ := list.Get("type"); option.IsHelp(kind) || list.Help() {
		s.help = func() error {
			return printf("-numa node[,nodeid=N][,memdev=ID|,mem=SIZE][,cpus=FIRST[-LAST]...]\n" +
				"-numa dist,src=N,dst=N,val=DISTANCE\n-numa cpu,node-id=N[,socket-id=N][,die-id=N][,core-id=N][,thread-id=N]\n")
		}
		return nil
	}
	s.numa = append(s.numa, numaSetup{list, given})
	return nil
}

// configureMemory settles how much memory there is, of what and where.
func (s *setup) configureMemory(info *machine.Info, board machine.Board) error {
	backend, err := object.Get(board, "memory-backend")
	if err != nil {
		return err
	}
	if s.cfg.RAM = s.ram; s.ram == 0 && backend == "" {
		s.cfg.RAM = defaultRAM
	}
	if err := s.checkMemory(); err != nil {
		return err
	}
	s.cfg.MemPath, s.cfg.MemPrealloc = s.memPath, s.memPrealloc
	for _, n := range s.numa {
		err := fmt.Errorf("NUMA is not supported by this machine-type")
		if info.RAM {
			err = s.cfg.NUMA.Add(n.list, s.cfg.SMP)
		}
		if err != nil {
			return &usageError{n.given, err}
		}
	}
	return nil
}
