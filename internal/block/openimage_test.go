package block_test

import (
	"context"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// A name is no deeper than a document may be: its depth is the stack's.
func TestDeepJSONName(t *testing.T) {
	g := block.NewGraph(block.Env{})
	name := `json:{"driver":"raw","file` + strings.Repeat(".file", 1<<20) + `":"x"}`
	n, err := g.OpenImage(context.Background(), name, nil, qmp.JSON, block.Settings{})
	if err == nil {
		n.Unref()
		t.Fatal("it was opened")
	}
	if want := "Could not parse the JSON options: JSON nesting depth limit exceeded"; err.Error() != want {
		t.Errorf("the error is %.200q", err)
	}
}
