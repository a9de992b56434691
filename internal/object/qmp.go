package object

import (
	"fmt"
	"strings"

	"govmd/internal/qmp"
)

// propertyInfo is what clients are told of a property.
type propertyInfo struct {
	Name        string  `qmp:"name"`
	Type        string  `qmp:"type"`
	Description *string `qmp:"description"`
	Default     *any    `qmp:"default-value"`
}

// typeInfo is what clients are told of a type.
type typeInfo struct {
	Name     string  `qmp:"name"`
	Abstract *bool   `qmp:"abstract"`
	Parent   *string `qmp:"parent"`
}

type (
	pathArgs struct {
		Path string `qmp:"path"`
	}
	getArgs struct {
		Path     string `qmp:"path"`
		Property string `qmp:"property"`
	}
	setArgs struct {
		Path     string `qmp:"path"`
		Property string `qmp:"property"`
		Value    any    `qmp:"value"`
	}
	typesArgs struct {
		Implements *string `qmp:"implements"`
		Abstract   *bool   `qmp:"abstract"`
	}
	typeArgs struct {
		Name string `qmp:"typename"`
	}
	idArgs struct {
		ID string `qmp:"id"`
	}
)

// Commands returns the commands about the tree and its types. root is where the
// collection is.
func (s *Collection) Commands(root *Node) []qmp.Command {
	return []qmp.Command{
		qmp.New("qom-list", func(_ *qmp.Context, a *pathArgs) ([]propertyInfo, error) { return root.list(a.Path) }, qmp.Preconfig),
		qmp.New("qom-get", func(_ *qmp.Context, a *getArgs) (any, error) { return root.get(a.Path, a.Property) }, qmp.Preconfig),
		qmp.New("qom-set", func(_ *qmp.Context, a *setArgs) (qmp.None, error) {
			return qmp.None{}, root.set(a.Path, a.Property, a.Value)
		}, qmp.Preconfig),
		qmp.New("qom-list-types", func(_ *qmp.Context, a *typesArgs) ([]typeInfo, error) { return listTypes(a), nil }, qmp.Preconfig),
		qmp.New("qom-list-properties", func(_ *qmp.Context, a *typeArgs) ([]propertyInfo, error) {
			return typeProperties(a.Name)
		}, qmp.Preconfig),
		qmp.New("device-list-properties", func(_ *qmp.Context, a *typeArgs) ([]propertyInfo, error) {
			return deviceProperties(a.Name)
		}, qmp.Preconfig),
		qmp.NewAsync("object-add", func(_ *qmp.Context, o *Options, r *qmp.Reply[qmp.None]) {
			s.AddLater(o, func(err error) { r.Finish(qmp.None{}, err) })
		}, qmp.Preconfig, qmp.Flatten("props")),
		qmp.New("object-del", func(_ *qmp.Context, a *idArgs) (qmp.None, error) {
			return qmp.None{}, s.Delete(a.ID)
		}, qmp.Preconfig),
	}
}

// at returns the object that a client's path names.
func (n *Node) at(path string) (*Node, error) {
	o, ambiguous := n.Resolve(path)
	switch {
	case ambiguous || path == "":
		return nil, qmp.Errorf("Path '%s' is ambiguous", path)
	case o == nil:
		return nil, qmp.DeviceNotFound(path)
	}
	return o.Obj(), nil
}

func (n *Node) list(path string) ([]propertyInfo, error) {
	o, err := n.at(path)
	if err != nil {
		return nil, err
	}
	list := []propertyInfo{{Name: "type", Type: "string"}}
	for _, p := range o.Unique() {
		if p.Name != "type" {
			list = append(list, propertyInfo{Name: p.Name, Type: p.Type})
		}
	}
	for _, c := range o.nodes() {
		list = append(list, propertyInfo{Name: c.name, Type: "child<" + c.TypeName() + ">"})
	}
	return list, nil
}

func (n *Node) get(path, name string) (any, error) {
	o, err := n.at(path)
	if err != nil {
		return nil, err
	}
	if name == "type" {
		return o.TypeName(), nil
	}
	if c := o.child(name); c != nil {
		return c.Path(), nil
	}
	v, err := Get(o.Object(), name)
	if err != nil {
		return nil, err
	}
	p, _ := o.Property(name)
	return n.forClient(p, v), nil
}

// forClient is a property's value as clients are told it: what an object is
// referred to by is its path.
func (n *Node) forClient(p Property, v any) any {
	id, ok := v.(string)
	if !ok || !strings.HasPrefix(p.Type, "link<") || id == "" || strings.HasPrefix(id, "/") {
		return v
	}
	if o := n.descend([]string{"objects", id}); o != nil {
		return o.Obj().Path()
	}
	return id
}

func (n *Node) set(path, name string, v any) error {
	o, err := n.holder(path, name)
	if err != nil {
		return err
	}
	return Set(o, name, v)
}

// holder returns the object at a path, unless name is what nobody sets: its type or a
// child.
func (n *Node) holder(path, name string) (Object, error) {
	o, err := n.at(path)
	if err != nil {
		return nil, err
	}
	if name == "type" || o.child(name) != nil {
		return nil, fmt.Errorf("Property '%s.%s' is not writable", o.TypeName(), name)
	}
	return o.Object(), nil
}

func listTypes(a *typesArgs) []typeInfo {
	list := []typeInfo{}
	for _, t := range Types(nil) {
		if t.Abstract && (a.Abstract == nil || !*a.Abstract) || a.Implements != nil && !t.Implements(*a.Implements) {
			continue
		}
		info := typeInfo{Name: t.Name}
		parent := t.Parent
		if parent == "" {
			parent = "object"
		}
		info.Parent = &parent
		if t.Abstract {
			info.Abstract = &t.Abstract
		}
		list = append(list, info)
	}
	return list
}

// Implements reports whether t is, or descends from, or fits the named type.
func (t *Type) Implements(name string) bool {
	return t.IsA(name) || name == "user-creatable" && t.creatable()
}

// creatable reports whether t is made with -object.
func (t *Type) creatable() bool { return t.UserCreatable && !t.IsA("device") }

func typeProperties(name string) ([]propertyInfo, error) {
	t := Lookup(name)
	if t == nil && name != "container" && name != "object" {
		return nil, qmp.ClassErrorf(qmp.ClassDeviceNotFound, "Class '%s' not found", name)
	}
	list := []propertyInfo{{Name: "type", Type: "string"}}
	if t == nil {
		return list, nil
	}
	for _, p := range t.Unique() {
		if p.Name != "type" {
			list = append(list, p.info(false))
		}
	}
	return list, nil
}

func deviceProperties(name string) ([]propertyInfo, error) {
	t := Lookup(name)
	switch {
	case t == nil:
		return nil, qmp.DeviceNotFound(name)
	case !t.IsA("device") || t.Abstract:
		return nil, qmp.InvalidValue("typename", "a non-abstract device type")
	}
	list := []propertyInfo{}
	for _, p := range t.Unique() {
		switch p.Name {
		case "type", "realized", "hotplugged", "hotpluggable", "parent_bus":
			continue // the same for all: clients ask for what can be configured
		}
		list = append(list, p.info(true))
	}
	return list, nil
}

// info describes p, with its default where clients ask what a device is created with.
func (p *Property) info(withDefault bool) propertyInfo {
	i := propertyInfo{Name: p.Name, Type: p.Type}
	if p.Description != "" {
		i.Description = &p.Description
	}
	// The default of what names something is to name nothing.
	if withDefault && p.Default != nil && p.Default != "" {
		i.Default = &p.Default
	}
	return i
}
