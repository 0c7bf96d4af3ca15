package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

// TestProposalRest: a manifest was proposed under an identity that the chain had before, and its file is there still. Sending
// it again could never be acknowledged.
func TestProposalRest(t *testing.T) {
	d := memDir()
	o := Options{Destinations: []string{"b"}, Sync: SyncAlways}
	s := d.open(t, o)
	if _, err := s.Append(t.Context(), batch(1, 3, 10)); err != nil {
		t.Fatal(err)
	}
	c, err := s.shelf.Chain("b")
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Appendf(nil, "{\"type\":\"header\",\"spool\":%q,\"epoch\":%d,\"number\":%d}\n", c.Spool, c.Epoch, c.Next)
	if err := s.shelf.Propose("b", before, false); err != nil {
		t.Fatal(err)
	}
	file, err := vfs.ReadFile(d.fs, s.proposalPath("b"), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	// The chain is another owner's, without any of these records: the spool continues under another spool id.
	name := "0000000000zzzzzzzzzzzzzzzz"
	if err := errors.Join(s.shelf.Leave("b", Left{}), s.shelf.Rename("b", name)); err != nil {
		t.Fatal(err)
	}
	if c, _ = s.shelf.Chain("b"); c.Spool != name || c.Hash != [32]byte{} {
		t.Fatalf("the chain goes on as %+v", c)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(d.fs, s.proposalPath("b"), file); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, o)
	if b, err := s.shelf.Proposed("b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("proposed is %q, %v: it was acknowledged", b, err)
	}
	next := fmt.Appendf(nil, "{\"type\":\"header\",\"spool\":%q,\"epoch\":1,\"number\":0}\n", name)
	if err := s.shelf.Propose("b", next, false); err != nil {
		t.Error(err)
	}
	// One for the place that comes next stays.
	if b, err := s.shelf.Proposed("b"); err != nil || string(b) != string(next) {
		t.Errorf("proposed is %q, %v", b, err)
	}
}
