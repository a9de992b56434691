// Package qmp says what a command of the monitor protocol is.
//
// A Command binds a name to a Go function over typed arguments and a typed
// result:
//
//	type linkArgs struct {
//		Name string `qmp:"name"`
//		Up   bool   `qmp:"up"`
//	}
//
//	qmp.New("set_link", func(ctx *qmp.Context, a *linkArgs) (qmp.None, error) {
//		...
//	})
//
// The Go types are all the schema there is: arguments are checked against them
// before the function runs, query-qmp-schema is generated from them, and one
// decoder reads both JSON and the text of key=value options into them.
//
// # Types
//
// Members of structs are the exported fields with a tag `qmp:"name"`. After the
// name come, separated by commas: optional (also any pointer; without a pointer
// an absent member is the zero value and the zero value is not sent),
// deprecated, unstable, and alias=OTHER, a further name that is understood for
// the member. An embedded struct's members belong to the outer one.
//
//	bool, int*, uint*, float64, string    as they are; ranges are checked
//	Size                                  a number of bytes
//	string type with EnumValues           an enumeration
//	[]T                                   a list
//	struct                                an object
//	struct with a Union                   an object whose members depend on one of them
//	struct with Alternate                 one of several kinds of value
//	Object, any                           an open object, any value
//	None, Null                            no members, null
//	Raw                                   JSON text, in results only
//
// The texts of errors are those that QEMU's clients know.
package qmp
