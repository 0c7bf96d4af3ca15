package spool

import (
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

// TestFreeze: what every destination has stays, in this process and in the next, until the spool is thawed.
func TestFreeze(t *testing.T) {
	d := memDir()
	o := Options{Destinations: []string{"a", "b"}}
	s := d.open(t, o)
	for i := range 20 {
		mustAppend(t, s, batch(1+10*i, 10, 2000))
	}
	mustSeal(t, s)
	if err := s.shelf.Freeze("to be verified"); err != nil {
		t.Fatal(err)
	}
	segs := s.shelf.Sealed(0, 0)
	for _, dest := range o.Destinations {
		deliver(t, s, dest, segs[len(segs)-1].Number)
	}
	closeSpool(t, s)

	s = d.open(t, o)
	if s.shelf.Frozen() != "to be verified" {
		t.Fatalf("frozen %q after a restart", s.shelf.Frozen())
	}
	for i := range 3 { // one goroutine seals and prunes: from the second on it has pruned before
		mustAppend(t, s, batch(201+i, 1, 10))
		mustSeal(t, s)
	}
	if n := s.Stats().Segments; n != len(segs)+3 {
		t.Fatalf("%d segments, want %d: deleted while frozen", n, len(segs)+3)
	}
	balanced(t, s)
	if err := s.shelf.Thaw(); err != nil {
		t.Fatal(err)
	}
	until(t, s, "delivered segments deleted", func() bool { return s.Stats().Segments == 3 })
	closeSpool(t, s)
	s = d.open(t, o)
	if s.shelf.Frozen() != "" {
		t.Errorf("frozen again: %q", s.shelf.Frozen())
	}
	closeSpool(t, s)
}

// TestFrozenUnreadable: a damaged mark is a mark.
func TestFrozenUnreadable(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{})
	closeSpool(t, s)
	if err := vfs.WriteFileAtomic(d.fs, s.path(frozenName), []byte("{")); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, Options{})
	if s.shelf.Frozen() == "" {
		t.Error("a damaged mark lets everything be deleted")
	}
	if err := s.shelf.Thaw(); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
}

// TestPruneBatch: many segments are deleted in batches, each of which the disk confirms before the next, and a hold in between
// stops the deletion.
func TestPruneBatch(t *testing.T) {
	d := memDir()
	var mu sync.Mutex
	const n = 2*pruneBatch + 100
	now, most, hold := 0, 0, false
	var s *Spool
	d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.Kind == vfs.OpSyncDir && filepath.Base(op.Path) == segDir:
			if hold && now > 0 {
				hold = false
				s.shelf.mu.Lock()
				s.shelf.holds++
				s.shelf.mu.Unlock()
			}
			now = 0
		case (op.Kind == vfs.OpRemove || op.Kind == vfs.OpRename) && filepath.Base(filepath.Dir(op.Path)) == segDir:
			// The keeper may prepare the next segment meanwhile, under a higher number.
			if number, ok := parseName(filepath.Base(op.Path), segExt); ok && number <= n {
				now++
				most = max(most, now)
			}
		}
		return nil
	})
	s = d.open(t, Options{Destinations: []string{"a"}, MaxBytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	for i := range n {
		mustAppend(t, s, batch(i+1, 1, 10))
		mustSeal(t, s)
	}
	if err := s.shelf.Freeze("until all are delivered"); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "a", s.shelf.Sealed(0, 0)[n-1].Number)
	mu.Lock()
	hold = true
	mu.Unlock()
	if err := s.shelf.Thaw(); err != nil {
		t.Fatal(err)
	}
	until(t, s, "a batch is deleted", func() bool { return s.Stats().Segments < n })
	if left := s.Stats().Segments; left != n-pruneBatch {
		t.Errorf("%d segments are left after a hold, want %d", left, n-pruneBatch)
	}
	s.shelf.mu.Lock()
	s.shelf.holds--
	s.shelf.mu.Unlock()
	wake(s.shelf.work)
	until(t, s, "everything is deleted", func() bool { return s.Stats().Segments == 0 })
	closeSpool(t, s)
	mu.Lock()
	defer mu.Unlock()
	if most != pruneBatch {
		t.Errorf("at most %d segments were deleted at once, want %d", most, pruneBatch)
	}
}
