package ship_test

import (
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/growth"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// BenchmarkSegments measures what a segment costs a Shipper by how many the spool has: to keep it, to stage and deliver it,
// to ask for it again as a drain does, and to remove it. The destination is a map in memory and the spool does not sync, so
// only this module and the file system are measured.
func BenchmarkSegments(b *testing.B) {
	growth.Each(b, "segments", 100, 10_000, benchSegments)
}

func benchSegments(b *testing.B, n int) {
	var keep, deliver, verify, remove time.Duration
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) / float64(b.N) }
	for b.Loop() {
		d := destinations{"a": shiptest.Memory()}
		w := openBench(b, b.TempDir(), d, "host-a", func(o *spool.Options) { o.MaxBytes = 64 << 30 })
		took := func(f func()) time.Duration {
			at := time.Now()
			f()
			return time.Since(at)
		}
		keep += took(func() { w.segments(n, 1) })
		w.freeze()
		w.ship(d)
		deliver += took(func() {
			if err := w.s.Flush(b.Context()); err != nil {
				b.Fatalf("%v\n%s", err, w.log)
			}
		})
		verify += took(func() {
			all, err := w.s.Verify(b.Context())
			if err != nil || all["a"].Objects != n {
				b.Fatalf("%+v, %v", all, err)
			}
		})
		remove += took(func() {
			if err := w.sp.Shelf().Thaw(); err != nil {
				b.Fatal(err)
			}
			for changed := w.sp.Shelf().Changed(); w.sp.Stats().Segments > 0; changed = w.sp.Shelf().Changed() {
				<-changed
			}
			if err := w.sp.Shelf().Freeze("all files are gone"); err != nil { // it waits for that
				b.Fatal(err)
			}
		})
		w.close()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(each(keep), "keep-µs/segment")
	b.ReportMetric(each(deliver), "deliver-µs/segment")
	b.ReportMetric(each(verify), "verify-µs/segment")
	b.ReportMetric(each(remove), "remove-µs/segment")
}
