package sftpship

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// BenchmarkObject measures what one new object costs at high latency, connection open and directories made: time, and how
// many round trips that is.
//
//	go test -run - -bench Object -benchtime 3x ./ship/sftpship
func BenchmarkObject(b *testing.B) {
	for _, rtt := range []time.Duration{0, 80 * time.Millisecond, 300 * time.Millisecond} {
		for _, size := range []int{1000, 1 << 20, 8 << 20} {
			b.Run(fmt.Sprintf("rtt=%v/size=%d", rtt, size), func(b *testing.B) {
				s := testserver.StartSSHD(b, "ForceCommand internal-sftp")
				p, url := startProxy(b, s.URL("d"))
				p.SetDelay(rtt / 2)
				h := open(b, url, nil)
				n := 0
				put := func() time.Duration {
					n++
					o, body := objectOf(fmt.Sprintf("class=a/%d", n), size)
					begin := time.Now()
					if _, err := h.Put(b.Context(), o, body); err != nil {
						b.Fatal(err)
					}
					return time.Since(begin)
				}
				put()
				var sum time.Duration
				for b.Loop() {
					sum += put()
				}
				each := sum / time.Duration(n-1)
				b.ReportMetric(each.Seconds()*1000, "ms/object")
				if rtt > 0 {
					b.ReportMetric(each.Seconds()/rtt.Seconds(), "trips/object")
				}
			})
		}
	}
}
