package object

import (
	"fmt"
	"sort"
	"strings"

	"govmd/internal/option"
)

// CreatableHelp lists the types that users can create objects of.
func CreatableHelp() string {
	var b strings.Builder
	b.WriteString("List of user creatable objects:\n")
	for _, t := range Creatable() {
		fmt.Fprintf(&b, "  %s\n", t.Name)
	}
	return b.String()
}

// PropertyHelp lists what can be set of a type when an object is created.
func PropertyHelp(t *Type) string {
	var lines []string
	for _, p := range t.Unique() {
		if p.When == Never || p.Name == "realized" { // that is the machine's business
			continue
		}
		line := fmt.Sprintf("  %s=<%s>", p.Name, p.Type)
		if p.Description != "" {
			line = fmt.Sprintf("%-24s - %s", line, p.Description)
		}
		if p.Default != nil && p.Default != "" {
			line += fmt.Sprintf(" (default: %s)", textOf(p.Default))
		}
		lines = append(lines, line+"\n")
	}
	sort.Strings(lines)
	return t.Name + " options:\n" + strings.Join(lines, "")
}

func textOf(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "on"
		}
		return "off"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

// optionHelp is the help that option text asks for; ok is false when it asks for none.
func optionHelp(text string) (help string, ok bool) {
	list := option.Parse(text, "qom-type")
	name, _ := list.Get("qom-type")
	switch t := Lookup(name); {
	case option.IsHelp(name) || name == "" && list.Help():
		return CreatableHelp(), true
	case list.Help() && t != nil && t.creatable():
		return PropertyHelp(t), true
	}
	return "", false
}
