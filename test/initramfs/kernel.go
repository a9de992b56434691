package initramfs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Kernel is the unpacked kernel package that scripts/deps keeps.
type Kernel struct {
	// Dir is the package's root folder.
	Dir string
	// Release is what uname -r says in it.
	Release string

	deps map[string][]string // module path below lib/modules/RELEASE to those it needs
	path map[string]string   // module name, '_' for '-', to its path
}

// FindKernel returns the kernel in the cache ($GOVMD_CACHE, else
// govmd/ in the user's cache folder).
func FindKernel() (*Kernel, error) {
	cache := os.Getenv("GOVMD_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		cache = filepath.Join(user, "govmd")
	}
	return OpenKernel(filepath.Join(cache, "linux"))
}

// OpenKernel reads what dir, an unpacked kernel package, has.
func OpenKernel(dir string) (*Kernel, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("no kernel in the cache, run scripts/deps: %w", err)
	}
	release, err := os.ReadFile(filepath.Join(dir, "release"))
	if err != nil {
		return nil, err
	}
	k := &Kernel{
		Dir:     dir,
		Release: strings.TrimSpace(string(release)),
		deps:    make(map[string][]string),
		path:    make(map[string]string),
	}
	f, err := os.Open(filepath.Join(k.moduleDir(), "modules.dep"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		module, needs, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			return nil, fmt.Errorf("%s: line %q has no colon", f.Name(), lines.Text())
		}
		k.deps[module] = strings.Fields(needs)
		k.path[ModuleName(module)] = module
	}
	return k, lines.Err()
}

// BzImage is the path of the kernel as it is packaged.
func (k *Kernel) BzImage() string { return filepath.Join(k.Dir, "vmlinuz") }

// ELF is the path of the uncompressed kernel with its PVH note.
func (k *Kernel) ELF() string { return filepath.Join(k.Dir, "vmlinux") }

func (k *Kernel) moduleDir() string { return filepath.Join(k.Dir, "lib/modules", k.Release) }

// ModuleName is the name by which the kernel knows the module in the file at
// path: its base name without extension, '_' for '-'.
func ModuleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// ErrNoModule is wrapped by the error for a module that the kernel package does
// not have.
var ErrNoModule = errors.New("no such kernel module")

// Modules returns the files of the named modules and of all that they need, in
// an order in which they can be loaded. Paths are absolute.
func (k *Kernel) Modules(names ...string) ([]string, error) {
	var files []string
	seen := make(map[string]bool)
	var visit func(module string)
	visit = func(module string) {
		if seen[module] {
			return
		}
		seen[module] = true
		for _, need := range k.deps[module] {
			visit(need)
		}
		files = append(files, filepath.Join(k.moduleDir(), module))
	}
	for _, name := range names {
		module, ok := k.path[ModuleName(name)]
		if !ok {
			return nil, fmt.Errorf("%w: %s in %s", ErrNoModule, name, k.Dir)
		}
		visit(module)
	}
	return files, nil
}
