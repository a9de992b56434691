package main

import (
	"govmd/internal/block"
	"govmd/internal/block/export"
	"govmd/internal/block/nbd/server"
)

// makeExports makes what offers the nodes of a graph to others.
func (v *vm) makeExports(g *block.Graph) {
	v.exports = export.NewSet(g, v.lane)
	v.nbd = server.New(server.Config{
		Exports: v.exports, Lane: v.lane, Names: v.chardevs.Names,
		TLS: v.chardevs.TLS, Authz: v.chardevs.Authz,
	})
}

// closeExports sends all clients away: the nodes are about to go.
func (v *vm) closeExports() {
	if v.exports != nil {
		v.nbd.Close()
		v.exports.Close()
	}
}
