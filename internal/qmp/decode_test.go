package qmp

import (
	"fmt"
	"strings"
	"testing"

	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

type color string

func (color) EnumValues() []string { return []string{"red", "green"} }

type driver string

func (driver) EnumValues() []string { return []string{"file", "null", "qcow2", "quorum"} }

var drivers = NewUnion("BlockdevOptions", "driver")

func init() {
	AddBranch[fileOptions](drivers, "file")
	AddBranch[qcow2Options](drivers, "qcow2")
	AddBranch[quorumOptions](drivers, "quorum")
	AddBranch[Data[fileOptions]](backends, "file")
	AddBranch[None](backends, "null")
}

type fileOptions struct {
	Filename string `qmp:"filename"`
	Aio      *color `qmp:"aio"`
}

type qcow2Options struct {
	File    BlockdevRef  `qmp:"file"`
	Backing *BlockdevRef `qmp:"backing"`
	Lazy    *bool        `qmp:"lazy-refcounts"`
}

type quorumOptions struct {
	Children  []BlockdevRef `qmp:"children"`
	Threshold int           `qmp:"vote-threshold,optional"`
}

type base struct {
	NodeName string `qmp:"node-name,optional,alias=id"`
	Cache    *struct {
		Direct bool `qmp:"direct,optional"`
	} `qmp:"cache"`
}

type blockdevOptions struct {
	Driver driver `qmp:"driver"`
	base
	Branch any `qmp:",branch"`
}

func (blockdevOptions) QMPUnion() *Union { return drivers }

// BlockdevRef is named in errors.
type BlockdevRef struct {
	Alternate
	Definition *blockdevOptions `qmp:"definition"`
	Reference  *string          `qmp:"reference"`
}

var backends = NewUnion("ChardevBackend", "type")

type backend struct {
	Type   string `qmp:"type"`
	Branch any    `qmp:",branch"`
}

func (backend) QMPUnion() *Union { return backends }

type scalars struct {
	B    *bool      `qmp:"b"`
	I    *int       `qmp:"i"`
	I8   *int8      `qmp:"i8"`
	U    *uint64    `qmp:"u"`
	U8   *uint8     `qmp:"u8"`
	U32  *uint32    `qmp:"u32"`
	F    *float64   `qmp:"f"`
	S    *string    `qmp:"s"`
	E    *color     `qmp:"e"`
	Size *Size      `qmp:"size"`
	L    []uint64   `qmp:"l,optional"`
	L16  []uint16   `qmp:"l16,optional"`
	LE   []color    `qmp:"le,optional"`
	Any  any        `qmp:"any,optional"`
	Obj  *Object    `qmp:"obj"`
	SN   *StrOrNull `qmp:"sn"`
	N    *Null      `qmp:"n"`
}

type device struct {
	Driver string `qmp:"driver"`
	ID     string `qmp:"id,optional"`
	Rest   Object `qmp:",rest"`
}

type args struct {
	Blockdev *blockdevOptions `qmp:"blockdev"`
	Backend  *backend         `qmp:"backend"`
	S        *scalars         `qmp:"s"`
	Device   *device          `qmp:"device"`
	List     []scalars        `qmp:"list,optional"`
}

func decodeText[T any](text string) (string, error) {
	kv, err := option.ParseValue(text, "")
	if err != nil {
		return "", err
	}
	defer kv.Doc.Release()
	mode := Keyval
	if kv.JSON {
		mode = JSON
	}
	var dst T
	if err := Decode(kv.Doc.Root(), mode, &dst); err != nil {
		return "", err
	}
	return string(Append(nil, &dst)), nil
}

func check[T any](t *testing.T, cases [][2]string) {
	t.Helper()
	for _, c := range cases {
		got, err := decodeText[T](c[0])
		if err != nil {
			got = "! " + err.Error()
		}
		want := c[1]
		if want == "" {
			want = c[0]
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", c[0], got, want)
		}
	}
}

// The errors are those of QEMU 7.2 for types of the same shape.
func TestDecodeScalars(t *testing.T) {
	check[scalars](t, [][2]string{
		{`{"b": true, "i": -5, "i8": -128, "u": 18446744073709551615, "u8": 255, "f": 1.5, "s": "x", "e": "red"}`, ""},
		{`{"size": 4096, "l": [1, 2], "le": ["red", "green"], "any": {"x": [1, "y", null, 1.5, true, {}]}, "obj": {"b": 1, "a": 2}}`, ""},
		{`{"sn": "x", "n": null}`, ""},
		{`{"sn": null}`, ""},
		{`{"f": 1, "u": -1}`, `{"u": 18446744073709551615, "f": 1}`},
		{`{"l": []}`, `{"l": []}`},
		{`{}`, ""},

		{`{"b": 1}`, "! Invalid parameter type for 'b', expected: boolean"},
		{`{"b": "on"}`, "! Invalid parameter type for 'b', expected: boolean"},
		{`{"i": "1"}`, "! Invalid parameter type for 'i', expected: integer"},
		{`{"i": 1.5}`, "! Invalid parameter type for 'i', expected: integer"},
		{`{"i": 18446744073709551615}`, "! Invalid parameter type for 'i', expected: integer"},
		{`{"i8": 128}`, "! Parameter 'i8' expects int8_t"},
		{`{"u8": 300}`, "! Parameter 'u8' expects uint8_t"},
		{`{"u8": -1}`, "! Parameter 'u8' expects uint8_t"},
		{`{"u32": 4294967296}`, "! Parameter 'u32' expects uint32_t"},
		{`{"u8": "3"}`, "! Parameter 'u8' expects uint64"},
		{`{"u": 1.5}`, "! Parameter 'u' expects uint64"},
		{`{"size": "1M"}`, "! Parameter 'size' expects uint64"},
		{`{"size": -1}`, "! Parameter 'size' expects uint64"},
		{`{"f": "x"}`, "! Invalid parameter type for 'f', expected: number"},
		{`{"s": null}`, "! Invalid parameter type for 's', expected: string"},
		{`{"e": 3}`, "! Invalid parameter type for 'e', expected: string"},
		{`{"e": "blue"}`, "! Parameter 'e' does not accept value 'blue'"},
		{`{"le": ["red", "blue"]}`, "! Parameter 'null' does not accept value 'blue'"},
		{`{"l": [1, "a"]}`, "! Parameter 'l[1]' expects uint64"},
		{`{"l16": [0, 70000]}`, "! Parameter 'null' expects uint16_t"},
		{`{"l": {}}`, "! Invalid parameter type for 'l', expected: array"},
		{`{"obj": []}`, "! Invalid parameter type for 'obj', expected: object"},
		{`{"sn": 1}`, "! Invalid parameter type for 'sn', expected: StrOrNull"},
		{`{"n": 1}`, "! Invalid parameter type for 'n', expected: null"},
		{`{"x": 1}`, "! Parameter 'x' is unexpected"},

		{"b=on,i=-0x10,i8=-1,u=010,f=1.5,s=a,,b,e=green,size=1.5k,sn=", `{"b": true, "i": -16, "i8": -1, "u": 8, "f": 1.5, "s": "a,b", "e": "green", "size": 1536, "sn": ""}`},
		{"l.0=1,l.1=2,any.x=1,obj.y.0=2,b=no,n=", `{"b": false, "l": [1, 2], "any": {"x": "1"}, "obj": {"y": ["2"]}, "n": null}`},
		{"b=maybe", "! Parameter 'b' expects 'on' or 'off'"},
		{"i=1x", "! Parameter 'i' expects integer"},
		{"u=", "! Parameter 'u' expects integer"},
		{"u8=256", "! Parameter 'u8' expects uint8_t"},
		{"f=x", "! Parameter 'f' expects number"},
		{"size=x", "! Parameter 'size' expects size"},
		{"size=16E", "! Parameter 'size' expects size"},
		{"e=blue", "! Parameter 'e' does not accept value 'blue'"},
		{"i.a=1", "! Parameters 'i.*' are unexpected"},
		{"s.0=1", "! Parameters 's.*' are unexpected"},
		{"l=x", "! Invalid parameter type for 'l', expected: array"},
		{"l16.0=70000", "! Parameter 'null' expects uint16_t"},
		{"l.0=1,l.1=z", "! Parameter 'l.1' expects integer"},
	})
}

func TestDecodeStructs(t *testing.T) {
	check[args](t, [][2]string{
		{`{"blockdev": {"driver": "file", "node-name": "n", "cache": {"direct": true}, "filename": "x", "aio": "red"}}`, ""},
		{`{"blockdev": {"driver": "null"}}`, ""},
		{`{"list": [{"u8": 256}]}`, "! Parameter 'u8' expects uint8_t"},
		{`{"blockdev": {"id": "n", "driver": "null"}}`, `{"blockdev": {"driver": "null", "node-name": "n"}}`},
		{`{"blockdev": {"filename": "x", "driver": "file"}}`, `{"blockdev": {"driver": "file", "filename": "x"}}`},
		{`{"blockdev": {"driver": "qcow2", "file": {"driver": "file", "filename": "x"}, "backing": "base"}}`, ""},
		{`{"blockdev": {"driver": "quorum", "children": ["a", {"driver": "null"}]}}`, ""},
		{`{"backend": {"type": "file", "data": {"filename": "x"}}}`, ""},
		{`{"backend": {"type": "null"}}`, ""},
		{`{"device": {"driver": "x", "id": "d", "bus": "pci.0", "addr": 3, "deep": {"a": [1]}}}`, ""},
		{`{"list": [{"i": 1}, {}]}`, ""},

		{`{"blockdev": {}}`, "! Parameter 'blockdev.driver' is missing"},
		{`{"blockdev": 1}`, "! Invalid parameter type for 'blockdev', expected: object"},
		{`{"blockdev": {"driver": "foo"}}`, "! Parameter 'driver' does not accept value 'foo'"},
		{`{"blockdev": {"driver": "file"}}`, "! Parameter 'blockdev.filename' is missing"},
		{`{"blockdev": {"driver": "file", "filename": "x", "bar": 1}}`, "! Parameter 'blockdev.bar' is unexpected"},
		{`{"blockdev": {"driver": "null", "filename": "x"}}`, "! Parameter 'blockdev.filename' is unexpected"},
		{`{"blockdev": {"driver": "null", "id": "a", "node-name": "b"}}`, "! Parameter 'blockdev.node-name' is unexpected"},
		{`{"blockdev": {"driver": "qcow2", "file": 1}}`, "! Invalid parameter type for 'file', expected: BlockdevRef"},
		{`{"blockdev": {"driver": "qcow2", "file": {"driver": "qcow2"}}}`, "! Parameter 'blockdev.file.file' is missing"},
		{`{"blockdev": {"driver": "qcow2", "file": {"driver": "qcow2", "file": true}}}`, "! Invalid parameter type for 'file', expected: BlockdevRef"},
		{`{"blockdev": {"driver": "quorum", "children": [3]}}`, "! Invalid parameter type for 'null', expected: BlockdevRef"},
		{`{"backend": {"type": "pipe"}}`, "! Parameter 'type' does not accept value 'pipe'"},
		{`{"backend": {"type": 1}}`, "! Invalid parameter type for 'backend.type', expected: string"},
		{`{"backend": {"type": "file", "data": {}}}`, "! Parameter 'backend.data.filename' is missing"},
		{`{"backend": {"type": "file", "data": {"filename": "x", "y": 1}}}`, "! Parameter 'backend.data.y' is unexpected"},
		{`{"device": {"id": "d"}}`, "! Parameter 'device.driver' is missing"},
		{`{"list": [{}, {"i": "a"}]}`, "! Invalid parameter type for 'list[1].i', expected: integer"},
		{`{"list": [{}, {"x": 1}]}`, "! Parameter 'list[1].x' is unexpected"},
		{`{"list": [[]]}`, "! Invalid parameter type for 'list[0]', expected: object"},
		{`{"s": {"e": "x"}}`, "! Parameter 'e' does not accept value 'x'"},

		{"blockdev.driver=qcow2,blockdev.file.driver=file,blockdev.file.filename=x,blockdev.lazy-refcounts=on",
			`{"blockdev": {"driver": "qcow2", "file": {"driver": "file", "filename": "x"}, "lazy-refcounts": true}}`},
		{"blockdev.driver=quorum,blockdev.children.0=a,blockdev.children.1.driver=null",
			`{"blockdev": {"driver": "quorum", "children": ["a", {"driver": "null"}]}}`},
		{"blockdev.driver=quorum,blockdev.children.0.driver=null,blockdev.children.0.cache.direct=z",
			"! Parameter 'blockdev.children.0.cache.direct' expects 'on' or 'off'"},
		{"device.driver=x,device.bus=b", `{"device": {"driver": "x", "bus": "b"}}`},
	})
}

func TestNilArguments(t *testing.T) {
	var dst scalars
	if err := Decode(Value{}, JSON, &dst); err == nil || err.Error() != "Invalid parameter type for '', expected: object" {
		t.Error(err)
	}
}

func TestAppend(t *testing.T) {
	var o Object
	o.Set("a", uint8(1))
	o.Set("b", []any{nil, "x", int64(2), &Object{}})
	o.Set("c", struct {
		X string  `qmp:"x"`
		Y *string `qmp:"y"`
		Z int     `qmp:"z,optional"`
	}{X: "é"})
	o.Set("d", Raw(`{"raw": true}`))
	o.Set("e", (*scalars)(nil))
	o.Set("a", uint8(7))
	o.Set("f", map[bool]string{}[true])
	if !o.Delete("f") || o.Delete("f") || o.Len() != 5 {
		t.Error("Delete")
	}
	want := `{"a": 7, "b": [null, "x", 2, {}], "c": {"x": "\u00E9"}, "d": {"raw": true}, "e": null}`
	if got := string(Append(nil, &o)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestBadTypes(t *testing.T) {
	for name, f := range map[string]func(){
		"map": func() { typeText[map[string]int]() },
		"unexported": func() {
			typeText[struct {
				x int `qmp:"x"`
			}]()
		}, //nolint
		"twice": func() {
			typeText[struct {
				A, B int `qmp:"x"`
			}]()
		},
		"option": func() {
			typeText[struct {
				A int `qmp:"x,nonsense"`
			}]()
		},
		"branch": func() {
			typeText[struct {
				A any `qmp:",branch"`
			}]()
		},
		"alternate": func() {
			typeText[struct {
				Alternate
				A int `qmp:"x"`
			}]()
		},
		"branch twice": func() { AddBranch[None](drivers, "file") },
		"no struct":    func() { AddBranch[int](drivers, "int") },
	} {
		func() {
			defer func() {
				if r := recover(); !strings.HasPrefix(fmt.Sprint(r), "qmp: ") {
					t.Errorf("%s: %v", name, r)
				}
			}()
			f()
		}()
	}
}

func typeText[T any]() { _, _ = decodeText[T]("{}") }

func FuzzDecode(f *testing.F) {
	f.Add(`{"blockdev": {"driver": "qcow2", "file": {"driver": "file", "filename": "x"}, "backing": "base"}}`)
	f.Add(`{"device": {"driver": "x", "deep": {"a": [1]}}, "list": [{"i": 1, "l": [1]}], "backend": {"type": "file", "data": {}}}`)
	f.Add("blockdev.driver=quorum,blockdev.children.0=a,s.size=1.5k,s.f=1,s.l.0=3")
	f.Fuzz(func(t *testing.T, text string) {
		out, err := decodeText[args](text)
		if err != nil {
			return
		}
		again, err := decodeText[args](out)
		if err != nil || again != out && !strings.Contains(out, "-0") {
			t.Fatalf("%s\nwas read as %s,\nwhich was read as %s, %v", text, out, again, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	doc, err := qjson.Parse([]byte(`{"driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": "x"}}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var dst blockdevOptions
		if err := Decode(doc.Root(), JSON, &dst); err != nil {
			b.Fatal(err)
		}
	}
}
