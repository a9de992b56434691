package main

import "govmd/internal/block"

// defaultCard is the interface of the empty drive "sd0", for a memory card, that every
// machine has unless told otherwise, though no board has a reader for it yet: who
// lists drives expects it.
const defaultCard = "sd"

func (v *vm) defaultCard(g *block.Graph) error {
	if v.setup.noDefaults || !v.cfg.Board.Info().RAM {
		return nil
	}
	return v.defaultDrive(g, newDrive(defaultCard, "disk"), 0)
}
