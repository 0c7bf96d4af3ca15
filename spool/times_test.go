package spool_test

import (
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestTimes: Stats shows how long appends and syncs took, since when a destination waits, and what is in use of what.
func TestTimes(t *testing.T) {
	s, err := spool.Open(t.TempDir(), &spool.Options{Destinations: []string{"s3"}, Sync: spool.SyncAlways, MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st := s.Stats(); !st.LastAppend.IsZero() || len(st.Oldest) > 0 {
		t.Errorf("nothing was appended, the last at %v, the oldest at %v", st.LastAppend, st.Oldest)
	}
	began := time.Now()
	for range 3 {
		if _, err := s.Append(t.Context(), []segment.Record{{Data: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		st := s.Stats()
		if age := st.LastAppend.Sub(began); age < 0 || age > time.Minute {
			t.Errorf("%s: the last append was %v after the first", when, age)
		}
		if age := st.Oldest["s3"].Sub(began); age < -time.Second || age > time.Minute {
			t.Errorf("%s: the oldest segment began %v after the first append", when, age)
		}
		if a, n := total(st.Times.Append), total(st.Times.Sync); a != 3 || n < 1 || n > 4 {
			t.Errorf("%s: %d appends and %d syncs are counted", when, a, n)
		}
		if st.Memory.Size != 128<<20 || st.Disk.Size < st.Disk.Used || st.Disk.Size == 0 {
			t.Errorf("%s: memory %+v, disk %+v", when, st.Memory, st.Disk)
		}
	}
	check("unsealed")
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("sealed")
}

func total(l spool.Latency) (n uint64) {
	for _, c := range l.Counts {
		n += c
	}
	return n
}
