package relp_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// discard is a Sink that takes everything, at once.
type discard struct {
	n     atomic.Uint64
	syncs atomic.Int64
}

func (d *discard) Append(_ context.Context, b []segment.Record) (uint64, error) {
	return d.n.Add(uint64(len(b))), nil
}

func (d *discard) Offer(ctx context.Context, b []segment.Record) (uint64, error) {
	return d.Append(ctx, b)
}

func (d *discard) WaitDurable(context.Context, uint64) error {
	d.syncs.Add(1)
	return nil
}
func (d *discard) Account(segment.Account) {}

// waits counts the calls of WaitDurable, an upper bound of the syncs.
type waits struct {
	*spool.Intake
	n *atomic.Int64
}

func (w waits) WaitDurable(ctx context.Context, seq uint64) error {
	w.n.Add(1)
	return w.Intake.WaitDurable(ctx, seq)
}

// BenchmarkRELP has one client on one connection, which keeps a window of messages of 512 bytes in transit and waits for
// all answers: once without keeping anything, and once with a spool that makes them durable. An operation is a message.
func BenchmarkRELP(b *testing.B) {
	for _, window := range []int{128, 1000} {
		b.Run(fmt.Sprintf("discard/%d", window), func(b *testing.B) {
			d := &discard{}
			benchmark(b, window, d, &d.syncs)
		})
		b.Run(fmt.Sprintf("spool/%d", window), func(b *testing.B) {
			s, err := spool.Open(b.TempDir(), &spool.Options{Class: "bench", Destinations: []string{"none"}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			var n atomic.Int64
			benchmark(b, window, waits{s.Intake(), &n}, &n)
		})
	}
}

func benchmark(b *testing.B, window int, s ingest.Sink, syncs *atomic.Int64) {
	l := start(b, s, &ingest.TCPOptions{Grace: -1})
	c := dial(b, l).open()
	c.conn.SetDeadline(time.Time{})
	data := append(append([]byte(" syslog 512 "), bytes.Repeat([]byte("x"), 512)...), '\n')
	out, in := make([]byte, 0, window*(len(data)+9)), make([]byte, 64<<10)
	b.SetBytes(512)
	b.ReportAllocs()
	b.ResetTimer()
	txnr := 2
	for sent := 0; sent < b.N; sent += window {
		out = out[:0]
		for range window {
			out = append(strconv.AppendInt(out, int64(txnr), 10), data...)
			txnr++
		}
		if _, err := c.conn.Write(out); err != nil {
			b.Fatal(err)
		}
		for left := window; left > 0; {
			n, err := c.conn.Read(in)
			if err != nil {
				b.Fatal(err)
			}
			left -= bytes.Count(in[:n], []byte("\n"))
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(txnr-2)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(txnr-2)/float64(max(1, syncs.Load())), "msg/sync")
}
