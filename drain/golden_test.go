package drain

import (
	"flag"
	"os"
	"testing"

	"github.com/penstock-go/penstock/internal/test/golden"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestGolden: this version reads reports and the journal of a drain that version 0.1 has written.
func TestGolden(t *testing.T) {
	golden.JSON[Report](t, "testdata/report-v1.json", *update)
	want := golden.JSON[journal](t, "testdata/journal-v1.json", *update)
	dir := t.TempDir()
	b, err := os.ReadFile("testdata/journal-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journalPath(dir), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if trigger, yes, err := Interrupted(dir); err != nil || !yes || trigger != want.Trigger {
		t.Errorf("%q %v %v", trigger, yes, err)
	}
}
