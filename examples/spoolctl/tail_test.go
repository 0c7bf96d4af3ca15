package main

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestTailOfStaged: tail reports the records that it leaves out and that a destination still needs. It does not report those
// that were deleted because every destination has them.
func TestTailOfStaged(t *testing.T) {
	code, out, errs := call(t, "tail", "-n", "24", scene(t, true))
	if code != exitDamaged || len(sequence(t, out)) != sceneRecords-6 || !strings.Contains(errs, "staged file") {
		t.Errorf("records 1 to 6 are only staged: %d\n%s%s", code, out, errs)
	}

	dir := filepath.Join(t.TempDir(), "spool")
	sp := openSpool(t, dir)
	add(t, sp, 6)
	if err := sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, sp, 6)
	seg := sp.Shelf().Sealed(0, 1)[0]
	c, err := sp.Shelf().Chain("idc")
	if err != nil {
		t.Fatal(err)
	}
	manifest := []byte("a manifest")
	if err := sp.Shelf().Propose("idc", manifest, false); err != nil {
		t.Fatal(err)
	}
	c.Next, c.Hash, c.Segment, c.Through = c.Next+1, sha256.Sum256(manifest), seg.Number, seg.Last
	if err := sp.Shelf().Ack("idc", c); err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil { // which deletes it, if the spool has not yet
		t.Fatal(err)
	}
	code, out, errs = call(t, "tail", "-n", "12", dir)
	if got := fmt.Sprint(sequence(t, out)); code != 0 || got != "[7 8 9 10 11 12]" || errs != "" {
		t.Errorf("records 1 to 6 are delivered: %d\n%s%s", code, out, errs)
	}
}
