package ingest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	growing "github.com/penstock-go/penstock/internal/test/growth"
	"github.com/penstock-go/penstock/spool/segment"
)

// perSource counts records by their source.
type perSource struct {
	discard
	mu  sync.Mutex
	had map[netip.AddrPort]int
}

func (p *perSource) Append(ctx context.Context, b []segment.Record) (uint64, error) {
	p.mu.Lock()
	for i := range b {
		p.had[b[i].Src]++
	}
	p.mu.Unlock()
	return p.discard.Append(ctx, b)
}

// BenchmarkConnections floods a listener over many connections at a time. Fairness is what the connection with the fewest records had,
// divided by the mean; B/conn what an idle connection keeps, with its goroutine.
func BenchmarkConnections(b *testing.B) {
	for _, n := range growing.Numbers(b, 1, 10_000) {
		b.Run(fmt.Sprintf("conns=%d", n), func(b *testing.B) { benchConnections(b, n) })
	}
}

func benchConnections(b *testing.B, n int) {
	total := uint64(max(200*n, 2_000_000)) // records
	l := listenTCP(b, &TCPOptions{Framing: Newline, Grace: -1, MaxConns: n})
	sink := &perSource{had: map[netip.AddrPort]int{}}
	serve(b, l, sink)
	before := held()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = dialTCP(b, l)
		fmt.Fprintln(conns[i], "the first")
	}
	until(sink, uint64(n))
	idle := held() - before
	block := bytes.Repeat(append(bytes.Repeat([]byte{'x'}, 511), '\n'), 16)
	// Few goroutines write, a little to each connection in turn: the sender does not choose whom the listener serves.
	var senders sync.WaitGroup
	ctx, stop := context.WithCancel(b.Context())
	for w := range min(n, 64) {
		senders.Go(func() {
			for ctx.Err() == nil {
				for i := w; i < n; i += 64 {
					if _, err := conns[i].Write(block); err != nil {
						return
					}
				}
			}
		})
	}
	b.ResetTimer()
	begin, cpu, from := time.Now(), cpuSeconds(), sink.n.Load()
	until(sink, from+uint64(b.N)*total)
	b.StopTimer()
	sink.mu.Lock()
	got, least, sum := float64(sink.n.Load()-from), math.MaxInt, 0
	for _, had := range sink.had {
		least, sum = min(least, had), sum+had
	}
	sink.mu.Unlock()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(got/time.Since(begin).Seconds()/1e3, "kpps")
	b.ReportMetric((cpuSeconds()-cpu)/got*1e6, "cpu-s/M")
	b.ReportMetric(float64(least)*float64(n)/float64(sum), "fairness")
	b.ReportMetric(idle/float64(n), "B/conn")
	stop()
	for _, c := range conns {
		c.Close()
	}
	senders.Wait()
}

// until waits for so many records.
func until(sink *perSource, records uint64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sink.n.Load() < records {
		<-tick.C
	}
}

// held returns the bytes of the heap and of stacks in use.
func held() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkSources is what the counting of senders costs a record, by how many there are: their memory does not grow.
func BenchmarkSources(b *testing.B) {
	for _, n := range growing.Numbers(b, 1, 100_000) {
		b.Run(fmt.Sprintf("sources=%d", n), func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(5, 6))
			var s senders
			bursts := make([][]segment.Record, 256)
			for i := range bursts {
				for range 64 {
					bursts[i] = append(bursts[i], from(uint32(rnd.IntN(n))))
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.note(bursts[i%256], clockBase)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/record")
		})
	}
}
