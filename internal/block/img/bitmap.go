package img

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"govmd/internal/block"
	"govmd/internal/block/control"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

func init() {
	commands = append(commands, command{
		name: "bitmap", options: "f:b:F:g:U", long: []string{"add", "remove", "clear", "enable", "disable", "merge=", "image-opts", "force-share"}, run: bitmap,
		usage: "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b SOURCE_FILE [-F SOURCE_FORMAT]] [-g GRANULARITY] [-f FORMAT] FILE BITMAP",
		help:  "change a persistent dirty bitmap of an image, in the order of the options",
	})
}

// bitmapActions are the options that do something.
var bitmapActions = []string{"add", "remove", "clear", "enable", "disable", "merge"}

// bitmap does with a bitmap what the commands of the monitor do.
func bitmap(t *tool) (int, error) {
	if len(t.opts.args) != 2 {
		return 1, errors.New("Expecting filename and bitmap name")
	}
	var todo []given
	for _, g := range t.opts.order {
		if slices.Contains(bitmapActions, g.name) {
			todo = append(todo, g)
		}
	}
	switch {
	case len(todo) == 0:
		return 1, errors.New("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge")
	case t.opts.has("g") && !t.opts.has("add"):
		return 1, errors.New("granularity only supported with --add")
	case t.opts.has("b") && !t.opts.has("merge"):
		return 1, errors.New("Merge bitmap source file only supported with --merge")
	case t.opts.has("F") && !t.opts.has("b"):
		return 1, errors.New("-F only supported with -b")
	}
	granularity, err := t.opts.size("g", 0)
	if err != nil || granularity < 0 || granularity > 1<<31 {
		return 1, errors.New("Invalid granularity specified")
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), block.Settings{}, readWrite)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	source := i.node
	if t.opts.has("b") {
		s, err := t.openFile(t.opts.get("b"), t.opts.get("F"), block.Settings{}, block.PermRead)
		if err != nil {
			return 1, err
		}
		defer s.Close()
		source = s.node
	}
	name := t.opts.args[1]
	for _, g := range todo {
		args := &qmp.Object{}
		args.Add("node", i.node.Name())
		switch g.name {
		case "merge":
			from := &qmp.Object{}
			from.Add("node", source.Name())
			from.Add("name", g.value)
			args.Add("target", name)
			args.Add("bitmaps", []any{from})
		case "add":
			args.Add("name", name)
			args.Add("persistent", true)
			if granularity > 0 {
				args.Add("granularity", granularity)
			}
		default:
			args.Add("name", name)
		}
		if err := t.command("block-dirty-bitmap-"+g.name, args); err != nil {
			return 1, fmt.Errorf("Operation %s on bitmap %s failed: %w", g.name, name, err)
		}
	}
	if err := i.node.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	return 0, t.store(i.node)
}

// command runs one of the monitor's commands on the tool's graph.
func (t *tool) command(name string, args *qmp.Object) error {
	list := control.New(control.Config{Graph: t.graph}).Commands()
	k := slices.IndexFunc(list, func(c qmp.Command) bool { return c.Name() == name })
	doc, err := qjson.Parse(qmp.Append(nil, args))
	if err != nil {
		return err
	}
	_, err = list[k].Call(&qmp.Context{Context: t.context()}, doc.Root(), qmp.JSON, nil)
	return err
}

// store writes the bitmaps into the image, as closing it does, and says so if it
// cannot be done.
func (t *tool) store(n *block.Node) error {
	i, ok := n.SkipFilters().Driver().(block.Inactivator)
	if !ok {
		return nil
	}
	if err := i.Inactivate(); err != nil {
		return fmt.Errorf("Could not store the bitmaps of '%s': %s", n.FileName(), strings.TrimSpace(block.ErrorText(err)))
	}
	return nil
}
