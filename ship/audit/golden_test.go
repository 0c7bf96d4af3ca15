package audit

import (
	"flag"
	"testing"

	"github.com/penstock-go/penstock/internal/test/golden"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestGolden: notes of repairs, markers and checkpoints that version 0.1 has written are read.
func TestGolden(t *testing.T) {
	golden.JSON[Repair](t, "testdata/repair-v1.json", *update)
	golden.JSON[Marker](t, "testdata/marker-v1.json", *update)
	golden.JSON[checkpointFile](t, "testdata/checkpoint-v1.json", *update)
}
