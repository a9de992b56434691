package qmptest

import (
	"strings"
	"testing"
)

func TestCheckSchema(t *testing.T) {
	const (
		str  = `{"name": "str", "meta-type": "builtin", "json-type": "string"}`
		none = `{"name": "0", "meta-type": "object", "members": []}`
		cmd  = `{"name": "c", "meta-type": "command", "arg-type": "0", "ret-type": "str"}`
	)
	for _, tt := range []struct{ name, schema, want string }{
		{"good", cmd + str + none, ""},
		{"no list", `{}`, "cannot unmarshal"},
		{"missing command", str + none, "the commands are [c]"},
		{"dangling", cmd + none, `refers to "str", which is not described`},
		{"unused", cmd + str + none + `{"name": "1", "meta-type": "enum", "members": []}`, `nothing refers to "1"`},
		{"twice", cmd + str + none + none, `"0" is described twice`},
		{"meta-type", cmd + str + none + `{"name": "x", "meta-type": "union"}`, "unknown meta-type"},
		{"lacks", cmd + none + `{"name": "str", "meta-type": "builtin"}`, `lacks "json-type"`},
		{"extra", cmd + none + `{"name": "str", "meta-type": "builtin", "json-type": "string", "members": []}`, `has a member "members"`},
		{"unknown", cmd + str + none + `{"x": 1}`, "unknown field"},
		{"argument", `{"name": "c", "meta-type": "command", "arg-type": "str", "ret-type": "str"}` + str, "of meta-type builtin"},
		{"array", `{"name": "c", "meta-type": "command", "arg-type": "0", "ret-type": "l"}` + none + str +
			`{"name": "l", "meta-type": "array", "element-type": "str"}`, `the array of "str" is called "l"`},
		{"variants", `{"name": "c", "meta-type": "command", "arg-type": "0", "ret-type": "1"}` + none +
			`{"name": "1", "meta-type": "object", "members": [{"name": "t", "type": "2"}], "tag": "t", "variants": [{"case": "x", "type": "0"}]}` +
			`{"name": "2", "meta-type": "enum", "members": [{"name": "x"}, {"name": "y"}], "values": ["x", "y"]}`, "values of the tag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.schema
			if text != "{}" {
				text = "[" + strings.ReplaceAll(text, "}{", "},{") + "]"
			}
			err := CheckSchema([]byte(text), []string{"c"}, nil)
			switch {
			case tt.want == "" && err != nil, tt.want != "" && err == nil:
				t.Errorf("got %v, want %q", err, tt.want)
			case err != nil && !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
