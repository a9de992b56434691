package machine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"govmd/internal/option"
)

// NUMA is how the guest's memory and processors are spread over nodes, as the
// -numa options say. The zero NUMA has no nodes.
type NUMA struct {
	Nodes     []*NUMANode // by ID; nil for one that is missing yet
	distances map[[2]int]uint8
	cpus      map[int]int // node by CPU index
}

// NUMANode is a node.
type NUMANode struct {
	Memdev string // ID of the memory backend that is its memory, "" for none
	Size   uint64 // bytes
}

const (
	maxNodes        = 128
	localDistance   = 10
	defaultDistance = 20
)

var numaSchemas = map[string]*option.Schema{
	"node": {Name: "numa", Keys: []option.Key{{Name: "type"}, {Name: "nodeid", Type: option.Number}, {Name: "mem"}, {Name: "memdev"}, {Name: "cpus"}}},
	"dist": {Name: "numa", Keys: []option.Key{{Name: "type"}, {Name: "src", Type: option.Number}, {Name: "dst", Type: option.Number}, {Name: "val", Type: option.Number}}},
	"cpu": {Name: "numa", Keys: []option.Key{{Name: "type"}, {Name: "node-id", Type: option.Number}, {Name: "socket-id", Type: option.Number},
		{Name: "die-id", Type: option.Number}, {Name: "core-id", Type: option.Number}, {Name: "thread-id", Type: option.Number}}},
}

// Add takes one -numa option. They are given in order.
func (n *NUMA) Add(list option.List, smp SMP) error {
	kind, _ := list.Get("type")
	schema := numaSchemas[kind]
	if schema == nil {
		if kind == "hmat-lb" || kind == "hmat-cache" {
			return fmt.Errorf("%s is not supported: there is no heterogeneous memory attribute table", kind)
		}
		return fmt.Errorf("Parameter 'type' does not accept value '%s'", kind)
	}
	if _, ok := list.Get("cluster-id"); ok {
		return errors.New("cluster-id is not supported")
	}
	o, err := schema.Check(list)
	if err != nil {
		return err
	}
	switch kind {
	case "node":
		return n.addNode(o, list, smp)
	case "dist":
		return n.addDistance(o)
	}
	return n.addCPU(o, smp)
}

func (n *NUMA) addNode(o *option.Opts, list option.List, smp SMP) error {
	id := o.Number("nodeid", uint64(n.count()))
	switch {
	case id >= maxNodes:
		return fmt.Errorf("Max number of NUMA nodes reached: %d", id)
	case n.node(id) != nil:
		return fmt.Errorf("Duplicate NUMA nodeid: %d", id)
	}
	node := &NUMANode{Memdev: o.Str("memdev")}
	mem, memdev := o.Has("mem"), o.Has("memdev")
	mixed := mem && memdev
	for _, other := range n.Nodes {
		if other != nil {
			mixed = mixed || mem && other.Memdev != "" || memdev && other.Memdev == "" && other.Size > 0
		}
	}
	if mixed {
		return errMixed
	}
	if mem {
		size, err := option.ParseSizeIn(o.Str("mem"), 'M')
		if err != nil {
			return fmt.Errorf("Parameter 'mem' expects a size")
		}
		node.Size = size
	}
	for _, it := range list {
		if it.Key != "cpus" {
			continue
		}
		first, last, err := cpuRange(it.Value)
		if err != nil {
			return err
		}
		for c := first; c <= last; c++ {
			if c >= uint64(smp.MaxCPUs) {
				return fmt.Errorf("CPU index (%d) should be smaller than maxcpus (%d)", c, smp.MaxCPUs)
			}
			if err := n.assign(int(c), int(id)); err != nil {
				return err
			}
		}
	}
	for uint64(len(n.Nodes)) <= id {
		n.Nodes = append(n.Nodes, nil)
	}
	n.Nodes[id] = node
	return nil
}

var errMixed = errors.New("numa configuration should use either mem= or memdev=, mixing both is not allowed")

func (n *NUMA) count() (found int) {
	for _, node := range n.Nodes {
		if node != nil {
			found++
		}
	}
	return found
}

func (n *NUMA) node(id uint64) *NUMANode {
	if id >= uint64(len(n.Nodes)) {
		return nil
	}
	return n.Nodes[id]
}

func cpuRange(text string) (first, last uint64, err error) {
	from, to, isRange := strings.Cut(text, "-")
	first, err = strconv.ParseUint(from, 0, 32)
	if last = first; err == nil && isRange {
		last, err = strconv.ParseUint(to, 0, 32)
	}
	if err != nil || last < first {
		return 0, 0, errors.New("Parameter 'cpus' expects a uint64 value or range")
	}
	return first, last, nil
}

func (n *NUMA) assign(index, node int) error {
	if n.cpus == nil {
		n.cpus = map[int]int{}
	}
	if old, ok := n.cpus[index]; ok && old != node {
		return fmt.Errorf("CPU is already assigned to node-id: %d", old)
	}
	n.cpus[index] = node
	return nil
}

func (n *NUMA) addDistance(o *option.Opts) error {
	for _, key := range []string{"src", "dst", "val"} {
		if !o.Has(key) {
			return fmt.Errorf("Parameter '%s' is missing", key)
		}
	}
	src, dst, val := o.Number("src", 0), o.Number("dst", 0), o.Number("val", 0)
	switch {
	case src > 0xffff || dst > 0xffff:
		return errors.New("Parameter 'src' expects uint16_t")
	case val > 255:
		return errors.New("Parameter 'val' expects uint8_t")
	case src >= maxNodes || dst >= maxNodes:
		return fmt.Errorf("Invalid node %d, max possible could be %d", max(src, dst), maxNodes)
	case n.node(src) == nil || n.node(dst) == nil:
		return errors.New("Source/Destination NUMA node is missing. Please use '-numa node' option to declare it first.")
	case val < localDistance:
		return fmt.Errorf("NUMA distance (%d) is invalid, it shouldn't be less than %d.", val, localDistance)
	case src == dst && val != localDistance:
		return fmt.Errorf("Local distance of node %d should be %d.", src, localDistance)
	}
	if n.distances == nil {
		n.distances = map[[2]int]uint8{}
	}
	n.distances[[2]int{int(src), int(dst)}] = uint8(val)
	return nil
}

func (n *NUMA) addCPU(o *option.Opts, smp SMP) error {
	if !o.Has("node-id") {
		return errors.New("Missing mandatory node-id property")
	}
	id := o.Number("node-id", 0)
	if n.node(id) == nil {
		return fmt.Errorf("Invalid node-id=%d, NUMA node must be defined with -numa node,nodeid=ID before it's used with -numa cpu,node-id=ID", id)
	}
	t := smp.topology()
	found := false
	for i := range smp.MaxCPUs {
		l := t.Location(i)
		matches := true
		for key, at := range map[string]int{"socket-id": l.Socket, "die-id": l.Die, "core-id": l.Core, "thread-id": l.Thread} {
			matches = matches && (!o.Has(key) || o.Number(key, 0) == uint64(at))
		}
		if !matches {
			continue
		}
		found = true
		if err := n.assign(i, int(id)); err != nil {
			return err
		}
	}
	if !found {
		return errors.New("no match found")
	}
	return nil
}

func (n *NUMA) usesBackends() bool {
	for _, node := range n.Nodes {
		if node != nil && node.Memdev != "" {
			return true
		}
	}
	return false
}

// check refuses nodes that do not add up.
func (n *NUMA) check(ram uint64) error {
	if len(n.Nodes) == 0 {
		return nil
	}
	var total uint64
	for _, node := range n.Nodes {
		total += node.Size
	}
	if total != ram {
		return fmt.Errorf("total memory for NUMA nodes (0x%x) should equal RAM size (0x%x)", total, ram)
	}
	return n.fillDistances()
}

func (n *NUMA) checkNodes() error {
	for i, node := range n.Nodes {
		if node == nil {
			return fmt.Errorf("numa: Node ID missing: %d", i)
		}
	}
	return nil
}

// fillDistances completes the distances: those of one direction count for both,
// unless there is a pair with two.
func (n *NUMA) fillDistances() error {
	if n.distances == nil {
		return nil
	}
	asymmetric := false
	for pair, d := range n.distances {
		back, ok := n.distances[[2]int{pair[1], pair[0]}]
		asymmetric = asymmetric || ok && back != d
	}
	for i := range n.Nodes {
		n.distances[[2]int{i, i}] = localDistance
		for j := range n.Nodes {
			_, there := n.distances[[2]int{i, j}]
			back, other := n.distances[[2]int{j, i}]
			switch {
			case there:
			case !other:
				return fmt.Errorf("The distance between node %d and %d is missing, at least one distance value between each nodes should be provided.", i, j)
			case asymmetric:
				return errors.New("At least one asymmetrical pair of distances is given, please provide distances for both directions of all node pairs.")
			default:
				n.distances[[2]int{i, j}] = back
			}
		}
	}
	return nil
}
