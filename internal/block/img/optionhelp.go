package img

import (
	"fmt"
	"slices"
	"strings"

	"govmd/internal/block"
)

// wantsOptions reports whether -o asks what there is: help, or ?.
func (o *options) wantsOptions() bool {
	for _, text := range o.values["o"] {
		for part := range strings.SplitSeq(text, ",") {
			if part == "help" || part == "?" {
				return true
			}
		}
	}
	return false
}

// optionTypes are the types of options as qemu-img calls them.
var optionTypes = map[string]string{"string": "str", "number": "num", "bool": "bool (on/off)", "size": "size"}

// showOptions says what -o takes for a format: to make an image, or to change one.
func (t *tool) showOptions(format string, amend bool) error {
	typ := block.TypeOf(format)
	if typ == nil {
		return block.UnknownFormat(format)
	}
	keys, title := slices.Clone(typ.CreateKeys), "Supported %s options:\n"
	if typ.PlainFile {
		keys = slices.Clone(block.TypeOf("file").CreateKeys)
	}
	switch {
	case amend && len(typ.AmendKeys) == 0:
		return fmt.Errorf("Format driver '%s' does not support option amendment", format)
	case amend:
		title = "Amend options for '%s':\n"
		keys = slices.DeleteFunc(keys, func(k block.CreateKey) bool { return !slices.Contains(typ.AmendKeys, k.Name) })
	case typ.Create == nil && !typ.PlainFile:
		return fmt.Errorf("Format driver '%s' does not support image creation", format)
	}
	slices.SortFunc(keys, func(a, b block.CreateKey) int { return strings.Compare(a.Name, b.Name) })
	fmt.Fprintf(t.out, title, format)
	for _, k := range keys {
		fmt.Fprintf(t.out, "  %-22s - %s\n", fmt.Sprintf("%s=<%s>", k.Name, optionTypes[k.Type]), k.Help)
	}
	return nil
}
