package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// TestJoinAsOpen: a destination that joins an open spool is owed the same as one that Open is given, in every state of the spool.
func TestJoinAsOpen(t *testing.T) {
	next := 1
	appended := func(t *testing.T, s *Spool) { mustAppend(t, s, batch(next, 10, 100)); next += 10 }
	for name, prepare := range map[string]func(t *testing.T, s *Spool){
		"empty":    func(t *testing.T, s *Spool) {},
		"unsealed": appended,
		"sealed":   func(t *testing.T, s *Spool) { appended(t, s); mustSeal(t, s); appended(t, s); mustSeal(t, s) },
		"both":     func(t *testing.T, s *Spool) { appended(t, s); mustSeal(t, s); appended(t, s) },
		"deleted": func(t *testing.T, s *Spool) {
			appended(t, s)
			mustSeal(t, s)
			deliver(t, s, "a", lastSegment(s))
			until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
		},
		"deleted, and more": func(t *testing.T, s *Spool) {
			appended(t, s)
			mustSeal(t, s)
			deliver(t, s, "a", lastSegment(s))
			until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
			appended(t, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := memDir()
			next = 1
			s := d.open(t, Options{Destinations: []string{"a"}})
			prepare(t, s)
			for range 2 { // again is no error
				if err := s.shelf.Join("b"); err != nil {
					t.Fatal(err)
				}
			}
			joined, owed := mustChain(t, s, "b"), s.Stats().Pending["b"]
			appended(t, s)
			mustSeal(t, s)
			if p := s.Stats().Pending["b"]; p.Records != owed.Records+10 {
				t.Errorf("%d records were pending, %d with 10 more", owed.Records, p.Records)
			}
			deliver(t, s, "a", lastSegment(s))
			if s.Stats().Segments == 0 {
				t.Error("what b does not have is deleted")
			}
			closeSpool(t, s)
			if _, err := d.tryOpen(t, Options{Destinations: []string{"a"}}); !errors.Is(err, ErrPending) {
				t.Errorf("b is left out, and %v", err)
			}
			s = d.open(t, Options{Destinations: []string{"a", "b"}})
			if c := mustChain(t, s, "b"); c != joined {
				t.Errorf("the next Open knows the chain %+v, want %+v", c, joined)
			}
			deliver(t, s, "b", lastSegment(s))
			until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
			balanced(t, s)
			closeSpool(t, s)

			other := memDir()
			next = 1
			s = other.open(t, Options{Destinations: []string{"a"}})
			prepare(t, s)
			closeSpool(t, s)
			s = other.open(t, Options{Destinations: []string{"a", "b"}})
			c := mustChain(t, s, "b")
			if c.Through != joined.Through || c.Joined != joined.Joined || s.Stats().Pending["b"] != owed {
				t.Errorf("joined: %+v, %+v pending; opened: %+v, %+v", joined, owed, c, s.Stats().Pending["b"])
			}
			closeSpool(t, s)
		})
	}
}

func mustChain(t *testing.T, s *Spool, dest string) Chain {
	t.Helper()
	c, err := s.shelf.Chain(dest)
	if err != nil {
		t.Fatal(err)
	}
	c.Spool, c.Passed = "", c.Passed.UTC()
	return c
}

// TestJoinRefused: Join refuses cases that only Open can decide, and invalid names.
func TestJoinRefused(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a", "b"}})
	closeSpool(t, s)
	s = d.open(t, Options{Destinations: []string{"a"}, Forget: []string{"b"}})
	for name, want := range map[string]string{"b": "was given up before", "B/": "does not match"} {
		if err := s.shelf.Join(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	closeSpool(t, s)
	if err := s.shelf.Join("c"); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestJoinFails: a name that could not be written down is owed nothing, here and at the next Open.
func TestJoinFails(t *testing.T) {
	d := memDir()
	var refuse atomic.Bool
	d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
		if refuse.Load() && op.Kind.Mutates() && strings.Contains(op.Path, identityName) {
			return fs.ErrPermission
		}
		return nil
	})
	s := d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	refuse.Store(true)
	if err := s.shelf.Join("b"); !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	refuse.Store(false)
	if _, ok := s.Stats().Pending["b"]; ok {
		t.Error("b is owed records")
	}
	if _, ok := s.Ledger().Destinations["b"]; ok {
		t.Error("the ledger names b")
	}
	deliver(t, s, "a", lastSegment(s))
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	closeSpool(t, s)
	s = d.open(t, Options{Destinations: []string{"a"}})
	balanced(t, s)
	closeSpool(t, s)
}

// TestJoinFaults: whichever operation of a Join fails, and whether it has happened or not, the destination is owed either nothing or
// everything, here, at the next Open, and after a power cut; a second Join succeeds.
func TestJoinFaults(t *testing.T) {
	kept, undone := 0, 0
	for _, lasting := range []bool{false, true} {
		for _, done := range []bool{false, true} {
			for n, more := 1, true; more; n++ {
				var owed bool
				if more, owed = joinFault(t, n, lasting, done); owed {
					kept++
				} else if more {
					undone++
				}
			}
		}
	}
	if kept < 2 || undone < 10 {
		t.Errorf("%d were owed everything after a failed Join, %d nothing", kept, undone)
	}
}

// joinFault has the n-th operation of a Join fail, and all later ones if it is lasting; false if there are not as many.
func joinFault(t *testing.T, n int, lasting, done bool) (more, owed bool) {
	t.Helper()
	d := memDir()
	mem := d.fs.(*vfs.Mem)
	var joining atomic.Bool
	var count atomic.Int64
	d.fs = vfs.Inject(mem, func(op vfs.Op) error {
		if !joining.Load() || !op.Kind.Mutates() {
			return nil
		}
		if k := int(count.Add(1)); k == n || lasting && k > n {
			return &vfs.Fault{Err: syscall.EIO, Done: done}
		}
		return nil
	})
	at := fmt.Sprintf("operation %d, lasting %v, done %v", n, lasting, done)
	s := d.open(t, Options{Destinations: []string{"a"}})
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	joining.Store(true)
	err := s.shelf.Join("b")
	joining.Store(false)
	if int(count.Load()) < n {
		if err != nil {
			t.Errorf("%s: %v", at, err)
		}
		closeSpool(t, s)
		return false, false
	}
	_, owed = s.Stats().Pending["b"]
	if !owed && err == nil {
		t.Errorf("%s: joined, and is owed nothing", at)
	}
	// A power cut: what spool.json names without its chain would be a lost chain.
	cut := &disk{fs: mem.CrashClone(vfs.Crash{}), dir: d.dir, index: new(index.Mem).Open}
	if err != nil && !owed {
		c, err := cut.tryOpen(t, Options{Destinations: []string{"a"}})
		if err != nil {
			t.Errorf("%s: undone, and after a power cut %v", at, err)
		} else {
			closeSpool(t, c)
		}
	}
	if owed && err != nil {
		deliver(t, s, "a", lastSegment(s))
		if s.Stats().Segments == 0 {
			t.Errorf("%s: what b is owed is deleted", at)
		}
	}
	if err := s.shelf.Join("b"); err != nil {
		t.Errorf("%s: again: %v", at, err)
	}
	if p := s.Stats().Pending["b"]; p.Records != 10 {
		t.Errorf("%s: %d records are pending", at, p.Records)
	}
	closeSpool(t, s)
	cut = &disk{fs: mem.CrashClone(vfs.Crash{}), dir: d.dir, index: new(index.Mem).Open}
	s = cut.open(t, Options{Destinations: []string{"a", "b"}})
	if p := s.Stats().Pending["b"]; p.Records != 10 {
		t.Errorf("%s: after a power cut %d records are pending", at, p.Records)
	}
	closeSpool(t, s)
	return true, owed && err != nil
}

// busyJournal lets another destination get a segment at the worst moment of a Join: between its two looks at the spool.
type busyJournal struct {
	shelfJournal
	s  *Shelf
	wg sync.WaitGroup
}

func (j *busyJournal) sealedThrough() uint64 {
	j.s.mu.Lock()
	j.wg.Go(func() {
		defer j.s.mu.Unlock()
		for range 10_000 { // until the catalogue was looked at, which finds nothing
			runtime.Gosched()
		}
		j.s.cat.mu.Lock()
		j.s.cat.segs = append(j.s.cat.segs, &sealed{Segment: Segment{Number: 6, First: 51, Last: 60}})
		j.s.cat.mu.Unlock()
		j.s.dests["a"].chain.Segment = 6
	})
	return 50
}

// TestJoinBetween: a segment that is sealed and delivered elsewhere while a destination joins is owed to it.
func TestJoinBetween(t *testing.T) {
	s := &Shelf{site: &site{id: &identity{}}, dests: map[string]*destination{"a": {chain: Chain{Segment: 5, Through: 50}}}}
	j := &busyJournal{s: s}
	s.journal = j
	c := s.beginning()
	j.wg.Wait()
	if c.Segment != 5 || c.Through != 50 || c.Joined != 51 {
		t.Errorf("it begins with %+v", c)
	}
}

// TestJoinWhileDeleting: segments are sealed, delivered and deleted meanwhile. From the record on at which a destination has joined,
// everything is there.
func TestJoinWhileDeleting(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"a"}})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			mustAppend(t, s, batch(1+i, 1, 100))
			mustSeal(t, s)
			deliver(t, s, "a", lastSegment(s))
		}
	})
	for _, name := range []string{"b", "c", "e", "f", "g"} {
		if err := s.shelf.Join(name); err != nil {
			t.Error(err)
		}
		c := mustChain(t, s, name)
		segs := s.shelf.Sealed(c.Segment, 0)
		next := c.Through + 1
		for _, seg := range segs {
			if seg.First != next {
				t.Fatalf("%s joined at %d, and segment %d begins with %d, want %d", name, c.Joined, seg.Number, seg.First, next)
			}
			next = seg.Last + 1
		}
	}
	wg.Wait()
	closeSpool(t, s)
}
