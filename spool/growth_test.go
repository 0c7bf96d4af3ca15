package spool

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/growth"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// BenchmarkSegments measures what grows with the number of segments: to open a spool, with its index and without, the memory that it
// then has, its status, the next segment to stage, and to acknowledge and remove everything.
func BenchmarkSegments(b *testing.B) {
	growth.Each(b, "segments", 100, 1_000_000, benchSegments)
}

func benchSegments(b *testing.B, n int) {
	o := &Options{SegmentBytes: minSegmentBytes, Destinations: []string{"a"}}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(n) / float64(b.N) }
	var rebuild, open, status, next, remove time.Duration
	var heap float64
	for b.Loop() {
		dir := b.TempDir()
		manySegments(b, dir, o, n)
		_ = os.Remove(filepath.Join(dir, index.FileName))
		s := timed(b, &rebuild, dir, o)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		before := live()
		s = timed(b, &open, dir, o)
		heap += live() - before
		at := time.Now()
		if st := s.Stats(); st.Segments != n {
			b.Fatalf("%d segments", st.Segments)
		}
		status += time.Since(at)
		at = time.Now()
		if next := s.shelf.Sealed(uint64(n-1), 1); len(next) != 1 {
			b.Fatal("no last segment")
		}
		next += time.Since(at)
		at = time.Now()
		if err := tryDeliver(s, "a", uint64(n)); err != nil {
			b.Fatal(err)
		}
		until(b, s, "everything is removed", func() bool { return s.Stats().Segments == 0 })
		remove += time.Since(at)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(each(rebuild), "rebuild-ns/segment")
	b.ReportMetric(each(open), "open-ns/segment")
	b.ReportMetric(heap/float64(n)/float64(b.N), "B/segment")
	b.ReportMetric(float64(status.Nanoseconds())/float64(b.N), "status-ns")
	b.ReportMetric(float64(next.Nanoseconds())/float64(b.N), "next-ns")
	b.ReportMetric(each(remove), "remove-ns/segment")
}

func timed(b *testing.B, sum *time.Duration, dir string, o *Options) *Spool {
	at := time.Now()
	s, err := Open(dir, o)
	if err != nil {
		b.Fatal(err)
	}
	*sum += time.Since(at)
	return s
}

// live returns the bytes of the heap that are in use.
func live() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
