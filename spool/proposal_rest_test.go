package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

// TestProposalRest: a process is killed between the two steps of an Ack that moves the chain to the next identity: the state
// is saved, the proposal not removed. The state has no hash that would tell it from a proposal to come, and sending it
// again could never be acknowledged.
func TestProposalRest(t *testing.T) {
	d := memDir()
	o := Options{Destinations: []string{"a", "b"}, Sync: SyncAlways}
	s := d.open(t, o)
	if _, err := s.Append(t.Context(), batch(1, 3, 10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	seg := s.Sealed(0, 1)[0]
	// The chain at a is another owner's, who has none of these records: the spool goes on under the next identity.
	name := "0000000000zzzzzzzzzzzzzzzz"
	if err := errors.Join(s.Leave("a", 0, 0), s.Rename("a", name)); err != nil {
		t.Fatal(err)
	}
	// At b nobody else writes. The chain there ends with everything that belongs under the former identity.
	c, err := s.Chain("b")
	if err != nil {
		t.Fatal(err)
	}
	final := fmt.Appendf(nil, "{\"type\":\"header\",\"spool\":%q,\"epoch\":%d,\"number\":%d}\n{\"type\":\"footer\",\"final\":true}\n", c.Spool, c.Epoch, c.Next)
	if err := s.Propose("b", final); err != nil {
		t.Fatal(err)
	}
	c.Next, c.Hash, c.Segment, c.Through, c.Final = c.Next+1, sha256.Sum256(final), seg.Number, seg.Last, true
	if err := s.Ack("b", c); err != nil {
		t.Fatal(err)
	}
	if c, _ = s.Chain("b"); c.Spool != name || c.Hash != [32]byte{} {
		t.Fatalf("the chain goes on as %+v", c)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(d.fs, s.proposalPath("b"), final); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, o)
	if b, err := s.Proposed("b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("proposed is %q, %v: it was acknowledged", b, err)
	}
	next := fmt.Appendf(nil, "{\"type\":\"header\",\"spool\":%q,\"epoch\":1,\"number\":0}\n", name)
	if err := s.Propose("b", next); err != nil {
		t.Error(err)
	}
	// One for the place that comes next stays.
	if b, err := s.Proposed("b"); err != nil || string(b) != string(next) {
		t.Errorf("proposed is %q, %v", b, err)
	}
}
