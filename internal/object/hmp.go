package object

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// HumanCommands returns the human monitor's commands about the tree.
func (s *Collection) HumanCommands(root *Node) []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "object_add", Args: "object:S", Params: "[qom-type=]type,id=str[,prop=value][,...]", Help: "create QOM object",
			Complete: func(*qmp.Context, []string) []string { return creatableNames() },
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				if help, ok := optionHelp(a.Str("object")); ok {
					_, err := io.WriteString(out, help)
					return err
				}
				return s.Parse(a.Str("object"))
			},
		},
		{
			Name: "object_del", Args: "id:s", Params: "id", Help: "destroy QOM object",
			Complete: func(*qmp.Context, []string) []string { return childNames(&s.Node) },
			Run:      func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error { return s.Delete(a.Str("id")) },
		},
		{
			Name: "qom-list", Args: "path:s?", Params: "path", Help: "list QOM properties",
			Complete: completePath(root), Run: root.humanList,
		},
		{
			Name: "qom-get", Args: "path:s,property:s", Params: "path property", Help: "print QOM property",
			Complete: completePath(root), Run: root.humanGet,
		},
		{
			Name: "qom-set", Args: "json:-j,path:s,property:s,value:S", Params: "[-j] path property value",
			Help: "set QOM property.\n\t\t\t-j: the value is specified in json format.", Complete: completePath(root), Run: root.humanSet,
		},
	}
}

// InfoCommands returns the second words of `info` about the tree.
func (s *Collection) InfoCommands(root *Node) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "qom-tree", Args: "path:s?", Params: "[path]", Help: "show QOM composition tree",
		Complete: completePath(root),
		Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
			at := root
			if path := a.Str("path"); path != "" {
				o, ambiguous := root.Resolve(path)
				switch {
				case ambiguous:
					_, err := fmt.Fprintf(out, "Warning: Path '%s' is ambiguous.\n", path)
					return err
				case o == nil:
					_, err := fmt.Fprintf(out, "Path '%s' could not be resolved.\n", path)
					return err
				}
				at = o.Obj()
			}
			at.printTree(out, 0)
			return nil
		},
	}}
}

func (n *Node) printTree(out io.Writer, level int) {
	fmt.Fprintf(out, "%s/%s (%s)\n", strings.Repeat("  ", level), n.name, n.TypeName())
	nodes := append([]*Node(nil), n.nodes()...)
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].name < nodes[j].name })
	for _, c := range nodes {
		c.printTree(out, level+1)
	}
}

func (n *Node) humanList(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
	path := a.Str("path")
	if path == "" {
		_, err := fmt.Fprintln(out, "/")
		return err
	}
	list, err := n.list(path)
	if err != nil {
		return err
	}
	for _, p := range list {
		fmt.Fprintf(out, "%s (%s)\n", p.Name, p.Type)
	}
	return nil
}

func (n *Node) humanGet(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
	v, err := n.get(a.Str("path"), a.Str("property"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", qjson.AppendPretty(nil, qmp.Append(nil, v)))
	return err
}

func (n *Node) humanSet(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
	path, name, text := a.Str("path"), a.Str("property"), a.Str("value")
	if a.Bool("json") {
		doc, err := qjson.Parse([]byte(text))
		if err != nil {
			return err
		}
		return n.set(path, name, qmp.ToAny(doc.Root()))
	}
	o, err := n.holder(path, name)
	if err != nil {
		return err
	}
	return SetText(o, name, text)
}

func creatableNames() (names []string) {
	for _, t := range Creatable() {
		names = append(names, t.Name)
	}
	return names
}

func childNames(n *Node) (names []string) {
	for _, c := range n.nodes() {
		names = append(names, c.name)
	}
	return names
}

// completePath completes a path, word by word, and a property after it.
func completePath(root *Node) func(*qmp.Context, []string) []string {
	return func(_ *qmp.Context, words []string) (found []string) {
		if len(words) == 0 {
			return nil
		}
		last := words[len(words)-1]
		if len(words) > 1 && strings.HasPrefix(words[len(words)-2], "/") {
			o, _ := root.Resolve(words[len(words)-2])
			if o == nil {
				return nil
			}
			for _, p := range o.Obj().Unique() {
				found = append(found, p.Name)
			}
			return append(found, childNames(o.Obj())...)
		}
		i := strings.LastIndexByte(last, '/')
		if i < 0 {
			return []string{"/"}
		}
		o, _ := root.Resolve(last[:i+1])
		if o == nil {
			return nil
		}
		for _, name := range childNames(o.Obj()) {
			found = append(found, last[:i+1]+name)
		}
		return found
	}
}
