package block

import "path/filepath"

// FindBacking returns the node of n's backing chain, below n, that a user calls file:
// by the name that the image above has it by, or by its own. It returns nil when there
// is none.
func (n *Node) FindBacking(file string) *Node {
	for p := n.SkipFilters(); p.Backing() != nil; p = p.Backing().SkipFilters() {
		below := p.Backing()
		if file == p.Info().BackingFile || file == below.FileName() {
			return below
		}
		// What is relative is so to the image above, as in its header.
		full, err := p.ResolveBacking(file)
		if err == nil && sameFile(full, below.FileName()) {
			return below
		}
	}
	return nil
}

// sameFile reports whether two names of files mean the same file.
func sameFile(a, b string) bool {
	ra, err := filepath.EvalSymlinks(a)
	if err != nil {
		return false
	}
	rb, err := filepath.EvalSymlinks(b)
	return err == nil && ra == rb
}
