package s3ship

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/faultproxy"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
)

// BenchmarkObject measures what one new object costs at high latency, connection open: time, and how many round trips
// that is.
//
//	go test -run - -bench Object -benchtime 3x ./ship/s3ship
func BenchmarkObject(b *testing.B) {
	for _, rtt := range []time.Duration{0, 80 * time.Millisecond, 300 * time.Millisecond} {
		for _, size := range []int{1000, 1 << 20, 8 << 20} {
			b.Run(fmt.Sprintf("rtt=%v/size=%d", rtt, size), func(b *testing.B) {
				endpoint, access, secret := testserver.S3(b)
				keys(b, access, secret)
				line, err := faultproxy.ListenTCP(strings.TrimPrefix(endpoint, "http://"))
				if err != nil {
					b.Fatal(err)
				}
				defer line.Close()
				line.SetDelay(rtt / 2)
				at, err := Open(b.Context(), "s3://penstock/far?path_style=true&endpoint="+url.QueryEscape("http://"+line.Addr), nil)
				if err != nil {
					b.Fatal(err)
				}
				defer at.Close()
				for range 2 { // opens the connection, and shows that nothing is overwritten
					if err := at.Check(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				n := 0
				put := func() time.Duration {
					n++
					body := random(size)
					o := ship.BytesObject(fmt.Sprintf("class=a/%d", n), spoolID, body)
					o.New = true
					begin := time.Now()
					if _, err := at.Put(b.Context(), o, section(body)); err != nil {
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
