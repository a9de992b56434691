package main

import (
	"path/filepath"

	"govmd/internal/ctl"
)

// asClient runs govmctl if that is what the program was called as: "govmctl", or
// "govmd ctl".
func asClient(argv []string) (status int, ok bool) {
	switch {
	case len(argv) > 0 && filepath.Base(argv[0]) == "govmctl":
		return ctl.Main("govmctl", version, argv[1:]), true
	case len(argv) > 1 && argv[1] == "ctl":
		return ctl.Main(program()+" ctl", version, argv[2:]), true
	}
	return 0, false
}
