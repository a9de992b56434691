package img

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"govmd/internal/block"
	"govmd/internal/block/copy"
	"govmd/internal/qmp"
)

func init() {
	commands = append(commands,
		command{
			name: "convert", options: "f:O:o:B:F:cpqS:nm:Wt:T:U", long: []string{"target-is-zero", "image-opts", "target-image-opts", "force-share"}, run: convert,
			usage: "[-q] [-p] [-f FORMAT] [-O FORMAT] [-o OPTIONS] [-c] [-n [--target-is-zero] [--target-image-opts]] [-S SPARSE_SIZE] [-m N] [-W] [-t CACHE] [-T SRC_CACHE] [-U] FILE OUTPUT",
			help:  "copy what an image shows into another, of any format",
		},
		command{
			name: "commit", options: "f:b:dpqt:", long: []string{"image-opts"}, run: commit,
			usage: "[-q] [-p] [-f FORMAT] [-t CACHE] [-b BASE] [-d] FILE",
			help:  "write what an image holds into its backing file, and empty it unless there is -d",
		},
	)
}

// workers is how many pieces -m has under way at once.
func (t *tool) workers() (int, error) {
	if !t.opts.has("m") {
		return 0, nil
	}
	n, err := strconv.Atoi(t.opts.get("m"))
	if err != nil || n < 1 || n > 16 {
		return 0, errors.New("Invalid number of coroutines. Allowed number of coroutines is between 1 and 16")
	}
	return n, nil
}

func convert(t *tool) (code int, err error) {
	format := t.opts.format("O")
	if t.opts.wantsOptions() {
		return 0, t.showOptions(format, false)
	}
	if err := t.opts.expect(2, 2); err != nil {
		return 1, errors.New("Must specify image file name and output: FILE OUTPUT (several sources in one are not supported)")
	}
	if t.opts.has("B") || t.opts.has("F") {
		return 1, errors.New("-B is not supported: give the backing file with -o backing_file and copy with rebase")
	}
	src, dst := t.opts.args[0], t.opts.args[1]
	typ := block.TypeOf(format)
	if typ == nil {
		return 1, block.UnknownFormat(format)
	}
	sparse, err := t.opts.size("S", 4096)
	if err != nil || sparse != 0 && (sparse < 512 || sparse > 1<<20 || sparse&(sparse-1) != 0) {
		return 1, errors.New("Invalid buffer size for sparse output specified. Valid sizes are powers of two from 512 to 1 MiB, and 0 for none")
	}
	workers, err := t.workers()
	if err != nil {
		return 1, err
	}
	set, _, err := cache(t.opts.get("T"), block.Settings{})
	if err != nil {
		return 1, err
	}
	from, err := t.open(src, t.opts.get("f"), set, block.PermRead)
	if err != nil {
		return 1, err
	}
	defer from.Close()
	keys := t.opts.creation()
	if t.opts.has("target-image-opts") && !t.opts.has("n") {
		return 1, errors.New("--target-image-opts requires use of -n flag")
	}
	if _, encrypted := keys.Get("encrypt.format"); encrypted && t.opts.has("c") {
		return 1, errors.New("Compression and encryption not supported at the same time")
	}
	made := false
	defer func() {
		if err != nil && made {
			_ = os.Remove(dst) // half an image is no use
		}
	}()
	if !t.opts.has("n") {
		keys.Set("size", fmt.Sprint(from.Length()))
		_, statErr := os.Lstat(dst)
		made = errors.Is(statErr, os.ErrNotExist)
		if err := t.graph.CreateImage(t.context(), format, dst, keys, qmp.Keyval); err != nil {
			made = false
			return 1, fmt.Errorf("%s: error while converting %s: %w", dst, format, err)
		}
	}
	set, stable, err := cache(t.opts.get("t"), block.Settings{NoFlush: true, Unmap: true})
	if err != nil {
		return 1, err
	}
	to, err := t.openTarget(dst, format, keys, set)
	if err != nil {
		return 1, err
	}
	defer to.Close()
	if to.Length() < from.Length() {
		return 1, errors.New("output file is smaller than input file")
	}
	c := &copy.Copy{
		Source: from.Root(), Target: to.Root(), Sparse: int(sparse), Workers: workers, Flags: stable, ZeroFlags: block.MayUnmap | stable,
		TargetZero: !t.opts.has("n") && to.node.Backing() == nil && to.node.Info().ZeroInit || t.opts.has("target-is-zero"),
		Done:       t.progress.add,
	}
	if t.opts.has("c") {
		if to.node.Limits().WriteFlags&block.Compressed == 0 {
			return 1, fmt.Errorf("Compression not supported for file format '%s'", format)
		}
		c.Flags, c.Sparse, c.Chunk = c.Flags|block.Compressed, 0, int64(to.node.Info().ClusterSize)
		if !t.opts.has("W") && workers == 0 {
			c.Workers = 2
		}
	}
	if sparse == 0 {
		c.TargetZero = false
	}
	t.progress.begin(from.Length())
	if err = c.Run(t.context(), 0, from.Length()); err != nil {
		return 1, fmt.Errorf("error while copying: %s", block.ErrorText(err))
	}
	if err = to.node.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	return 0, nil
}

// openTarget opens what convert writes to, which has been made with keys: that of an
// encrypted image opens it, too.
func (t *tool) openTarget(dst, format string, keys *qmp.Object, set block.Settings) (*image, error) {
	if t.opts.has("target-image-opts") {
		return t.openOptions(dst, t.opts.get("O"), set, readWrite)
	}
	opts := &qmp.Object{}
	if id, ok := keys.Get("key-secret"); ok {
		opts.Set("key-secret", id)
	}
	if id, ok := keys.Get("encrypt.key-secret"); ok {
		inner := &qmp.Object{}
		inner.Set("key-secret", id)
		opts.Set("encrypt", inner)
	}
	return t.openAs(dst, dst, format, opts, qmp.Keyval, set, readWrite)
}

func commit(t *tool) (int, error) {
	if err := t.opts.expect(1, 1); err != nil {
		return 1, errors.New("Expecting one image file name")
	}
	set, stable, err := cache(t.opts.get("t"), block.Settings{Unmap: true})
	if err != nil {
		return 1, err
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), set, readWrite)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	base := i.node.Backing()
	if name := t.opts.get("b"); name != "" {
		for base != nil && base.FileName() != name {
			base = base.Backing()
		}
		if base == nil {
			return 1, fmt.Errorf("Did not find '%s' in the backing chain of '%s'", name, t.opts.args[0])
		}
	}
	if base == nil {
		return 1, errors.New("Image does not have a backing file")
	}
	if err := t.graph.SetReadOnly(t.context(), base, false); err != nil {
		return 1, err
	}
	to, err := t.use(base, readWrite)
	if err != nil {
		return 1, err
	}
	defer to.Close()
	if n := i.node.Length(); to.Length() < n {
		if err := base.Truncate(t.context(), n, false, block.PreallocOff, 0); err != nil {
			return 1, err
		}
	}
	c := &copy.Copy{Source: i.Root(), Base: base, Target: to.Root(), Flags: stable, ZeroFlags: block.MayUnmap | stable, Done: t.progress.add}
	t.progress.begin(i.node.Length())
	if err := c.Run(t.context(), 0, i.node.Length()); err != nil {
		return 1, fmt.Errorf("Block job failed: %s", block.ErrorText(err))
	}
	if err := base.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	if e, ok := i.node.Driver().(block.Emptier); ok && !t.opts.has("d") && base == i.node.Backing() {
		if err := e.MakeEmpty(t.context()); err != nil {
			return 1, fmt.Errorf("Could not empty '%s': %w", t.opts.args[0], err)
		}
	}
	fmt.Fprintln(t.out, "Image committed.")
	return 0, nil
}
