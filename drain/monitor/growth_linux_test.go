package monitor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/penstock-go/penstock/internal/test/growth"
	"github.com/penstock-go/penstock/spool"
)

// BenchmarkClasses measures the cost of a service with many classes, each with a spool, a shipper to two destinations and
// two listeners: memory, goroutines, CPU time of an idle second, and a scrape.
func BenchmarkClasses(b *testing.B) {
	growth.Each(b, "classes", 1, 1000, benchClasses)
}

func benchClasses(b *testing.B, n int) {
	w := newWorld(b)
	memory, goroutines := held(), runtime.NumGoroutine()
	for i := range n {
		u, l := listenUDP(w, nil), listenTCP(w, nil)
		w.class(fmt.Sprintf("class_%d", i), spool.Options{SegmentBytes: 64 << 10, MaxBytes: 16 << 20, MemoryBytes: 1 << 20, StageReserve: 1 << 20}, nil, u, l)
		write(b, dial(b, u), "a record")
		write(b, dial(b, l), "a record\n")
	}
	memory, goroutines = held()-memory, runtime.NumGoroutine()-goroutines
	h, size := Handler(w.watch), 0
	before := cpu(b)
	for b.Loop() {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		size = r.Body.Len()
	}
	b.ReportMetric(memory/float64(n), "B/class")
	b.ReportMetric(float64(goroutines)/float64(n), "goroutines/class")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(n)/float64(b.N), "cpu-µs/class")
	b.ReportMetric(float64(size)/float64(n), "bytes/class")
}

// held returns the bytes of the heap and of stacks in use.
func held() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
