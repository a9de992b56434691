package hostmem

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"govmd/internal/object"
	"govmd/internal/qmp"
)

// info is what query-memdev tells of a back end.
type info struct {
	ID       string   `qmp:"id"`
	Size     qmp.Size `qmp:"size"`
	Merge    bool     `qmp:"merge"`
	Dump     bool     `qmp:"dump"`
	Prealloc bool     `qmp:"prealloc"`
	Share    bool     `qmp:"share"`
	Reserve  bool     `qmp:"reserve"`
	Nodes    []uint16 `qmp:"host-nodes"`
	Policy   Policy   `qmp:"policy"`
}

func (b *Backend) info() info {
	return info{
		ID: b.Name(), Size: qmp.Size(b.size), Merge: either(b.merge, b.defaults.Merge), Dump: either(b.dump, b.defaults.Dump),
		Prealloc: b.preallocated(), Share: b.share, Reserve: b.reserve, Nodes: b.nodes, Policy: b.policy,
	}
}

func list(objects *object.Collection) []info {
	found := []info{}
	for _, o := range objects.Children() {
		if b, ok := o.(*Backend); ok {
			found = append(found, b.info())
		}
	}
	return found
}

// Commands returns the commands about the back ends among objects.
func Commands(objects *object.Collection) []qmp.Command {
	return []qmp.Command{
		qmp.New("query-memdev", func(*qmp.Context, *qmp.None) ([]info, error) { return list(objects), nil }, qmp.Preconfig),
	}
}

// InfoCommands returns the second words of `info` about the back ends among objects.
func InfoCommands(objects *object.Collection) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "memdev", Help: "show memory backends",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			for _, i := range list(objects) {
				fmt.Fprintf(out, "memory backend: %s\n  size:  %d\n  merge: %v\n  dump: %v\n  prealloc: %v\n  share: %v\n  reserve: %v\n"+
					"  policy: %s\n  host nodes: %s\n", i.ID, i.Size, i.Merge, i.Dump, i.Prealloc, i.Share, i.Reserve, i.Policy, ranges(i.Nodes))
			}
			_, err := fmt.Fprintln(out)
			return err
		},
	}}
}

// ranges writes a list of numbers as "0-2,5".
func ranges(list []uint16) string {
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		part := strconv.Itoa(int(list[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(list[j]))
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
