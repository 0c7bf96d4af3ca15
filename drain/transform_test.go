package drain

import (
	"bytes"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestTransforms: typical transforms, a filter and a tag in front of the spool, with real datagrams. A drain is complete,
// a stop causes no false losses at the next start, and the account has every datagram.
func TestTransforms(t *testing.T) {
	for name, f := range map[string]ingest.TransformFunc{
		"drops half": func(r segment.Record, out []segment.Record) []segment.Record {
			if bytes.HasPrefix(r.Data, []byte("DEBUG")) {
				return out
			}
			return append(out, r)
		},
		"grows": func(r segment.Record, out []segment.Record) []segment.Record {
			r.Data = append([]byte("tag=x "), r.Data...)
			return append(out, r)
		},
		"shrinks": func(r segment.Record, out []segment.Record) []segment.Record {
			r.Data = r.Data[1:]
			return append(out, r)
		},
		"splits": func(r segment.Record, out []segment.Record) []segment.Record { return append(out, r, r) },
	} {
		for _, intent := range []Intent{Drain, Stop} {
			t.Run(name+" "+string(intent), func(t *testing.T) {
				w := newWorld(t)
				d, sp := w.start(Options{Timeout: time.Minute})
				tr, err := ingest.NewTransform(sp.Intake(), f, nil)
				if err != nil {
					t.Fatal(err)
				}
				l, err := ingest.ListenUDP("127.0.0.1:0", nil)
				if err != nil {
					t.Fatal(err)
				}
				c, err := net.Dial("udp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				const n = 500
				for i := range n {
					c.Write([]byte([]string{"DEBUG x", "INFO y"}[i%2]))
				}
				var served sync.WaitGroup
				served.Go(func() { l.Serve(tr) })
				for l.Stats().Received.Records < n { // they are in the socket
					runtime.Gosched()
				}
				if err := l.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				served.Wait()
				end := d.Drain
				if intent == Stop {
					end = d.Stop
				}
				r, err := end(t.Context(), "test")
				if err != nil || intent == Drain && r.ExitCode() != 0 || r.Classes["vpn"].Err != "" || r.Classes["vpn"].Lost != (segment.Losses{}) {
					t.Fatalf("%v %s", err, r.JSON())
				}
				again, err := spool.Open(filepath.Join(w.dir, "vpn"), &spool.Options{Class: "vpn", Destinations: []string{"good", "other"}})
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				led := again.Ledger()
				if in, out := led.Entered(), led.Settled(); in != out || led.Received.Records != n || len(led.Unaccounted) > 0 {
					t.Errorf("in %+v, accounted for %+v: %+v", in, out, led)
				}
			})
		}
	}
}
