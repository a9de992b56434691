package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tracePoint is a trace point as the source makes it.
type tracePoint struct{ name, variable, dir string }

// tracePoints reads the trace points of the program from its source.
func tracePoints(t *testing.T, root string) (points []tracePoint) {
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, v := range spec.Values {
				if name, ok := newTracePoint(v); ok {
					points = append(points, tracePoint{name, spec.Names[i].Name, filepath.Dir(path)})
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return points
}

// newTracePoint returns the name that trace.NewN[...](name, format) gives.
func newTracePoint(e ast.Expr) (name string, ok bool) {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return "", false
	}
	fn := call.Fun
	switch x := fn.(type) {
	case *ast.IndexExpr:
		fn = x.X
	case *ast.IndexListExpr:
		fn = x.X
	}
	sel, ok := fn.(*ast.SelectorExpr)
	if !ok || !strings.HasPrefix(sel.Sel.Name, "New") {
		return "", false
	}
	if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "trace" {
		return "", false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(lit.Value)
	return name, err == nil
}

var documented = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (.*) \\|$")

// Every trace point has a name of its own, is passed somewhere, and is in
// docs/tracing.md; what is there exists.
func TestTracePoints(t *testing.T) {
	points := tracePoints(t, "../../internal")
	text, err := os.ReadFile("../../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	if !slices.IsSorted(listed) {
		t.Error("docs/tracing.md is not in order")
	}
	seen := map[string]bool{}
	for _, p := range points {
		if seen[p.name] {
			t.Errorf("%s: there are two trace points %s", p.dir, p.name)
		}
		seen[p.name] = true
		if !slices.Contains(listed, p.name) {
			t.Errorf("%s: trace point %s is not in docs/tracing.md", p.dir, p.name)
		}
		if !emitted(t, p) {
			t.Errorf("%s: trace point %s is passed nowhere", p.dir, p.name)
		}
	}
	for i, name := range listed {
		if !seen[name] || i > 0 && listed[i-1] == name {
			t.Errorf("docs/tracing.md has %s, which does not exist or is there twice", name)
		}
	}
	if len(points) < 50 {
		t.Errorf("only %d trace points were seen", len(points))
	}
}

// emitted reports whether the point's package passes it.
func emitted(t *testing.T, p tracePoint) bool {
	files, err := filepath.Glob(filepath.Join(p.dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") && strings.Contains(string(text), p.variable+".Emit(") {
			return true
		}
	}
	return false
}
