package audit_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/growth"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
)

// BenchmarkObjects audits a directory with many objects of ten spools, a manifest for every four of them.
func BenchmarkObjects(b *testing.B) {
	growth.Each(b, "objects", 100, 1_000_000, benchObjects)
}

func benchObjects(b *testing.B, n int) {
	dir := b.TempDir()
	for i := range 10 {
		synthetic(b, dir, fmt.Sprintf("%d%025d", i, 0), "0", n/10)
	}
	d, err := open.Destination(b.Context(), "file://"+filepath.ToSlash(dir), nil)
	if err != nil {
		b.Fatal(err)
	}
	var most float64
	done, watched := make(chan struct{}), make(chan struct{})
	go func() { // measures the heap, which the garbage collector keeps little larger than the live objects
		defer close(watched)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, float64(m.HeapAlloc))
		}
	}()
	for b.Loop() {
		r, err := audit.Run(b.Context(), &audit.Options{Places: []audit.Place{{Destination: d}}})
		if err != nil || r.Verdict != audit.Complete || r.Objects != uint64(n) {
			b.Fatalf("%+v, %v", r, err)
		}
	}
	close(done)
	<-watched
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/object")
	b.ReportMetric(most/1e6, "MB-most")
}
