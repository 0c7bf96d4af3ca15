package spool

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// tellingHook adds up the calls of a spool.
type tellingHook struct {
	mu     sync.Mutex
	kept   segment.Tally
	last   uint64
	holes  int
	sealed []Segment
	staged []string
	before func() // each call
}

func (h *tellingHook) OnKept(k Kept) {
	h.before()
	h.mu.Lock()
	defer h.mu.Unlock()
	if k.First != h.last+1 || k.Records != k.Last+1-k.First {
		h.holes++
	}
	h.last = k.Last
	h.kept.Add(k.Tally)
}

func (h *tellingHook) OnSealed(s Sealed) {
	h.before()
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.Segment.Last > h.last {
		h.holes++ // it was sealed before it was kept
	}
	h.sealed = append(h.sealed, s.Segment)
}

func (h *tellingHook) OnStaged(s Staged) {
	h.before()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.staged = append(h.staged, s.Record.Key)
}

// TestHooks: Hooks are called once for every record, segment and staged file, in order, and not for those of an earlier process; also
// if the hook uses the spool, and if every second call panics.
func TestHooks(t *testing.T) {
	d := memDir()
	for _, panics := range []bool{false, true} {
		h := &tellingHook{before: func() {}}
		s := d.open(t, Options{Hooks: []Hook{h}, Destinations: []string{"s3"}})
		h.last = s.Stats().Appended
		calls := 0
		h.before = func() {
			s.Stats()
			if calls++; panics && calls%2 == 0 {
				panic("a hook")
			}
		}
		first := h.last
		for range 3 {
			for range 50 {
				mustAppend(t, s, batch(0, 10, 100))
			}
			mustSeal(t, s)
		}
		var numbers []uint64
		for _, seg := range s.Shelf().Sealed(0, 0) {
			if seg.First > first {
				numbers = append(numbers, seg.Number)
			}
		}
		rec, err := s.Shelf().Stage(t.Context(), numbers[0], lineEncoder{})
		if err != nil {
			t.Fatal(err)
		}
		closeSpool(t, s)
		if st := s.Stats(); panics != (st.Panics > 0) || st.Untold > 0 {
			t.Errorf("%d panics, %d calls untold", st.Panics, st.Untold)
		}
		if panics {
			continue // the calls that panicked count nothing
		}
		if h.holes > 0 || h.kept.Records != 1500 || h.kept.Bytes != 150_000 {
			t.Errorf("told %v, %d holes", h.kept, h.holes)
		}
		if len(h.sealed) != len(numbers) || h.sealed[0].Number != numbers[0] || len(h.staged) != 1 || h.staged[0] != rec.Key {
			t.Errorf("told of %d segments, %d were sealed; staged %q", len(h.sealed), len(numbers), h.staged)
		}
	}
}

// TestHookHangs: a hook that never returns delays neither appends nor Close beyond its second.
func TestHookHangs(t *testing.T) {
	hang := make(chan struct{})
	h := &tellingHook{before: func() { <-hang }}
	s := memDir().open(t, Options{Hooks: []Hook{h}})
	for range 100 {
		mustAppend(t, s, batch(0, 1, 10))
	}
	mustSeal(t, s)
	began := time.Now()
	closeSpool(t, s)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Close took %v", took)
	}
	close(hang)
	s.hooks.teller.Wait(time.Minute)
	if h.kept.Records != 100 {
		t.Errorf("told of %d records afterwards", h.kept.Records)
	}
}

// TestHooksChecked: a value without any method of a Hook is refused.
func TestHooksChecked(t *testing.T) {
	for _, bad := range []Hook{nil, 7, (*tellingHook)(nil)} {
		if _, err := memDir().tryOpen(t, Options{Hooks: []Hook{bad}}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "OnSealed") {
			t.Errorf("%T: %v", bad, err)
		}
	}
}

// TestNoHooksNoAllocation: without hooks an append allocates nothing, as before.
func TestNoHooksNoAllocation(t *testing.T) {
	s := memDir().open(t, Options{Sync: SyncNone})
	in, b := s.Intake(), batch(0, 10, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := in.Offer(t.Context(), b); err != nil {
			t.Error(err)
		}
	}); n > 1 { // the flusher may run beside it
		t.Errorf("%v allocations", n)
	}
}
