package monitor

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// BenchmarkScrape is one scrape of a service with 20 classes, two destinations each of which one is down, and a backlog. 10 cpu-ms
// are 1 % of a core at one scrape per second. PENSTOCK_SEGMENTS is the number of
// segments of all classes together, default 2,000; 100,000 need some GB below TMPDIR.
func BenchmarkScrape(b *testing.B) {
	w := newWorld(b)
	down := shiptest.Faulty(shiptest.Memory(), func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(os.ErrDeadlineExceeded) })
	w.dests["idc"], w.dests["s3"] = down, down
	total, err := strconv.Atoi(cmp.Or(os.Getenv("PENSTOCK_SEGMENTS"), "2000"))
	if err != nil {
		b.Fatal(err)
	}
	const classes = 20
	for i := range classes {
		u, l := listenUDP(w, nil), listenTCP(w, nil)
		sp := w.class(fmt.Sprintf("class_%d", i), spool.Options{SegmentBytes: 64 << 10, Sync: spool.SyncNone, MaxBytes: 16 << 30, StageReserve: 1 << 20}, nil, u, l)
		for range total / classes {
			if _, err := sp.Append(b.Context(), []segment.Record{{Data: []byte("a record")}}); err != nil {
				b.Fatal(err)
			}
			if err := sp.Seal(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		write(b, dial(b, u), "a record")
		write(b, dial(b, l), "a record\n")
	}
	h, size := Handler(w.watch), 0
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		size = r.Body.Len()
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/scrape")
	b.ReportMetric(float64(size), "bytes/scrape")
}

// cpu returns the time that the process has used on processors.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
