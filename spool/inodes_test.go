package spool

import (
	"slices"
	"strconv"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestNoInode: on a file system that has room but no free inode, a spool stages, delivers and deletes everything, in whatever
// order the destinations ask, also after a restart, and then accepts records again.
func TestNoInode(t *testing.T) {
	for left := range 6 { // in the beginning
		t.Run(strconv.Itoa(left), func(t *testing.T) { noInode(t, left) })
	}
}

func noInode(t *testing.T, left int) {
	d := memDir()
	o := fullOptions(Reject)
	o.Destinations = []string{"a", "b"}
	s := d.open(t, o)
	if n := fill(t, s); n == 0 {
		t.Fatal("nothing fits")
	}
	mustSeal(t, s)
	for s.space.makeRoom() { // no file of a deleted segment, and no spare, that could be given up
	}
	mem := d.fs.(*vfs.Mem)
	mem.SetFiles(mem.Files() + left)
	segs := s.shelf.Sealed(0, 0)
	for _, seg := range slices.Backward(segs) { // those that need it least take what there is
		_, _ = s.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
	}
	for i, seg := range segs {
		if i == len(segs)/2 {
			closeSpool(t, s)
			s = d.open(t, o)
			for s.space.makeRoom() {
			}
		}
		for _, dest := range o.Destinations {
			if _, err := s.shelf.Stage(t.Context(), seg.Number, lineEncoder{}); err != nil {
				t.Fatalf("segment %d of %d: %v", i+1, len(segs), err)
			}
			deliver(t, s, dest, seg.Number)
		}
	}
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}}); err != nil {
		t.Error(err)
	}
	mustSeal(t, s)
	balanced(t, s)
	closeSpool(t, s)
}
