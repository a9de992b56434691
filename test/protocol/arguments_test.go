package protocol

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"testing"
)

// argumentDifferences are requests whose refusal differs from QEMU's, and why.
var argumentDifferences = []struct{ request, why string }{}

// sample returns a value of a type that passes the check of arguments.
func sample(schema map[string]*schemaEntry, name string, depth int) any {
	e := schema[name]
	switch {
	case e.Meta == "enum":
		return e.Members[0].Name
	case e.Meta == "array":
		return []any{}
	case e.Meta == "alternate":
		return sample(schema, e.Members[0].Type, depth+1)
	case e.Meta == "object" && depth < 8:
		return required(schema, e, depth+1)
	}
	switch e.Name {
	case "str":
		return "x"
	case "bool":
		return true
	case "null":
		return nil
	case "any":
		return map[string]any{}
	}
	return 1
}

// required returns an object with the members that it must have.
func required(schema map[string]*schemaEntry, e *schemaEntry, depth int) map[string]any {
	o := map[string]any{}
	for _, m := range e.Members {
		if m.Default == nil {
			o[m.Name] = sample(schema, m.Type, depth)
		}
	}
	if tag, ok := o[e.Tag].(string); ok {
		for _, v := range e.Variants {
			if v.Case == tag && depth < 8 {
				for name, value := range required(schema, schema[v.Type], depth+1) {
					o[name] = value
				}
			}
		}
	}
	return o
}

// badArguments returns requests for a command that no server should carry out, and
// what QEMU's wording for it is, as a regular expression.
func badArguments(schema map[string]*schemaEntry, command *schemaEntry) (requests []map[string]any, want []string) {
	args := schema[command.Arg]
	add := func(expect string, change func(map[string]any)) {
		o := required(schema, args, 0)
		change(o)
		requests = append(requests, o)
		want = append(want, expect)
	}
	if !open[command.Name] {
		add(`^Parameter 'zork' is unexpected$`, func(o map[string]any) { o["zork"] = 1 })
	}
	for _, m := range args.Members {
		t := schema[m.Type]
		if m.Default == nil && m.Name != args.Tag {
			add(`^Parameter '`+m.Name+`' is missing$`, func(o map[string]any) { delete(o, m.Name) })
		}
		var wrong any = []any{}
		if t.Meta == "array" {
			wrong = 1
		}
		if t.Name == "any" {
			continue
		}
		add(`^Invalid parameter type for '`+m.Name+`', expected: \w+$`, func(o map[string]any) { o[m.Name] = wrong })
		switch {
		case t.Meta == "enum":
			add(`^Parameter '`+m.Name+`' does not accept value 'zork'`, func(o map[string]any) { o[m.Name] = "zork" })
		case t.Name == "int":
			add(`^(Invalid parameter type for|Parameter) '`+m.Name+`'(, expected:| expects) \w+$`, func(o map[string]any) {
				o[m.Name] = json.Number("100000000000000000000000")
			})
		}
	}
	return requests, want
}

// open are commands that take any arguments.
var open = map[string]bool{"device_add": true, "netdev_add": true, "object-add": true, "blockdev-add": true}

// Every command refuses a missing, an unknown, a mistyped and an out-of-range
// argument with QEMU's class and text.
func TestEveryCommandRefusesBadArguments(t *testing.T) {
	govmd, qemu := programs(t)
	a, b := start(t, govmd), start(t, qemu)
	schema, theirs := wholeSchema(t, a), wholeSchema(t, b)
	var names []string
	for name, e := range schema {
		if e.Meta == "command" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	asked := 0
	used := make([]bool, len(argumentDifferences))
	for _, name := range names {
		requests, want := badArguments(schema, schema[name])
		for i, args := range requests {
			text, err := json.Marshal(args)
			if err != nil {
				t.Fatal(err)
			}
			asked++
			got := a.answer(name, string(text))
			e, _ := got["error"].(map[string]any)
			if e["class"] != "GenericError" {
				t.Errorf("%s %s brings %v", name, text, got)
				continue
			}
			if theirs[name] == nil {
				if !regexp.MustCompile(want[i]).MatchString(fmt.Sprint(e["desc"])) {
					t.Errorf("%s %s brings %v, want %s", name, text, e["desc"], want[i])
				}
				continue
			}
			if reference := b.answer(name, string(text)); !reflect.DeepEqual(got, reference) {
				request := name + " " + string(text)
				j := slices.IndexFunc(argumentDifferences, func(d struct{ request, why string }) bool {
					return regexp.MustCompile(d.request).MatchString(request)
				})
				if j < 0 {
					t.Errorf("%s brings\n%v, from QEMU\n%v", request, got, reference)
				} else {
					used[j] = true
				}
			}
		}
	}
	for i, d := range argumentDifferences {
		if !used[i] {
			t.Errorf("nothing differs as %s says", d.request)
		}
	}
	t.Logf("%d requests, %d commands", asked, len(names))
	if asked < 300 {
		t.Errorf("only %d requests", asked)
	}
}
