package img

import (
	"os"
	"testing"

	"govmd/internal/block/blocktest"
)

func TestMain(m *testing.M) { os.Exit(blocktest.InMemory(m)) }
