package monitor

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// deadline bounds waits that would otherwise not end.
func (w *world) deadline() <-chan time.Time { return time.After(20 * time.Second) }

// stuck is a sink that takes no record, and cannot keep any.
type stuck struct{ in *spool.Intake }

func (s stuck) Append(ctx context.Context, _ []segment.Record) (uint64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func (s stuck) Offer(ctx context.Context, b []segment.Record) (uint64, error) {
	return s.Append(ctx, b)
}
func (s stuck) Account(a segment.Account) { s.in.Account(a) }

// force has a function for each cause of loss, which makes the class lose records by it.
var force = map[segment.Cause]func(w *world, class string){
	segment.KernelOverflow: func(w *world, class string) {
		u := listenUDP(w, &ingest.UDPOptions{ReceiveBuffer: 4096})
		c := dial(w.t, u)
		for range 200 { // before anything is read
			write(w.t, c, strings.Repeat("x", 500))
		}
		w.class(class, spool.Options{}, nil, u)
	},
	segment.Truncated: func(w *world, class string) {
		u := listenUDP(w, &ingest.UDPOptions{MaxRecord: 100})
		w.class(class, spool.Options{}, nil, u)
		write(w.t, dial(w.t, u), strings.Repeat("x", 101))
	},
	segment.FrameTooLong: func(w *world, class string) {
		l := listenTCP(w, &ingest.TCPOptions{MaxRecord: 10})
		w.class(class, spool.Options{}, nil, l)
		write(w.t, dial(w.t, l), strings.Repeat("x", 100)+"\n")
	},
	segment.Malformed: func(w *world, class string) {
		l := listenTCP(w, &ingest.TCPOptions{Framing: ingest.OctetCounting})
		w.class(class, spool.Options{}, nil, l)
		write(w.t, dial(w.t, l), "this has no length")
	},
	segment.Reset: func(w *world, class string) {
		l := listenTCP(w, nil)
		w.class(class, spool.Options{}, nil, l)
		c := dial(w.t, l)
		write(w.t, c, "whole\nhalf a rec")
		w.until(`penstock_kept_records_total{class="`+class+`"}`, func(v float64) bool { return v == 1 })
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	},
	segment.SpoolFull: func(w *world, class string) {
		u := listenUDP(w, nil)
		sp := w.class(class, spool.Options{SegmentBytes: 64 << 10, MaxBytes: 2 << 20, OnFull: spool.Reject}, nil, u)
		_ = sp.Shelf().Freeze("a test fills the spool")
		c := dial(w.t, u)
		for range 4000 {
			write(w.t, c, strings.Repeat("x", 1000))
		}
	},
	segment.Other: func(w *world, class string) { // a newer program has counted it
		a := segment.Account{Received: segment.Tally{Records: 3}}
		a.Lost[segment.Other].Records = 3
		w.class(class, spool.Options{}, nil).Intake().Account(a)
	},
	segment.GivenUp: func(w *world, class string) {
		u := listenUDP(w, nil)
		w.class(class, spool.Options{}, func(in *spool.Intake) ingest.Sink { return stuck{in} }, u)
		write(w.t, dial(w.t, u), "in hand")
		w.until(`penstock_received_records_total{class="`+class+`"}`, func(v float64) bool { return v == 1 })
		go u.Close()
	},
	segment.Refused: func(w *world, class string) {
		l := listenTCP(w, &ingest.TCPOptions{MaxConns: 1})
		for range 3 { // they wait to be accepted
			write(w.t, dial(w.t, l), "a record\n")
		}
		w.class(class, spool.Options{}, nil, l)
	},
	segment.Panicked: func(w *world, class string) {
		l := listenTCP(w, &ingest.TCPOptions{Framing: func(*ingest.Stream) ingest.Framer { return broken{} }})
		write(w.t, dial(w.t, l), "a record\n")
		w.class(class, spool.Options{}, nil, l)
	},
}

// broken is a Framer with a mistake.
type broken struct{}

func (broken) Next([]byte, bool) (int, []byte, error) { panic("the program's own framer") }

func listenUDP(w *world, o *ingest.UDPOptions) *ingest.UDP {
	w.t.Helper()
	u, err := ingest.ListenUDP("127.0.0.1:0", o)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func listenTCP(w *world, o *ingest.TCPOptions) *ingest.TCP {
	w.t.Helper()
	l, err := ingest.ListenTCP("127.0.0.1:0", o)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// TestCauses forces each cause of loss once, by its real mechanism. It checks that only the metric of that cause counts it, and
// that the alert fires on the scraped series.
func TestCauses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts kernel drops")
	}
	for cause := range segment.NumCauses {
		t.Run(cause.String(), func(t *testing.T) {
			w := newWorld(t)
			class := "c_" + cause.String()
			name := `penstock_lost_records_total{cause="` + cause.String() + `",class="` + class + `"}`
			force[cause](w, class)
			n := w.until(name, func(v float64) bool { return v > 0 })
			for other := range segment.NumCauses {
				// The kernel may also drop datagrams while the spool is full.
				if s := strings.Replace(name, `"`+cause.String()+`"`, `"`+other.String()+`"`, 1); other != cause && other != segment.KernelOverflow && w.values()[s] != 0 {
					t.Errorf("%s is %v", s, w.values()[s])
				}
			}
			if !strings.Contains(w.scrape(), "\n"+name+" ") {
				t.Errorf("%s is not in the scrape", name)
			}
			fires(t, cause, class, n)
		})
	}
}
