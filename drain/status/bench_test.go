package status

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// BenchmarkStatus gathers and renders 20 classes with two destinations each and a full history.
func BenchmarkStatus(b *testing.B) {
	dir := b.TempDir()
	d, err := drain.New(&drain.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 20 {
		name := fmt.Sprintf("class_%02d", i)
		sp, err := spool.Open(filepath.Join(dir, name), &spool.Options{Class: name, Destinations: []string{"idc", "s3"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20})
		if err != nil {
			b.Fatal(err)
		}
		sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": shiptest.Memory(), "s3": shiptest.Memory()}})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Add(drain.Class{Shipper: sh}); err != nil {
			b.Fatal(err)
		}
	}
	w, err := New(&Options{Drainer: d})
	if err != nil {
		b.Fatal(err)
	}
	for i := range int(span / step) {
		for _, c := range d.Stats().Classes {
			w.history.note(c, 1e12, w.started.Add(time.Duration(i)*step))
		}
	}
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			w.Snapshot()
		}
	})
	b.Run("page", func(b *testing.B) {
		var page bytes.Buffer
		for b.Loop() {
			page.Reset()
			if err := w.render(&page); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(page.Len()), "bytes/page")
	})
	if _, err := d.Stop(b.Context(), "the end of the benchmark"); err != nil {
		b.Fatal(err)
	}
}
