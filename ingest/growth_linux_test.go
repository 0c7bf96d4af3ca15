package ingest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

func (p *perSource) counts() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.had))
}

// floodEnv makes the test binary a sender over many connections: see runFlood.
const floodEnv = "PENSTOCK_INGEST_FLOOD"

func init() {
	if to := os.Getenv(floodEnv); to != "" {
		if err := runFlood(to); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// runFlood opens connections to an address, sends a record over each, and floods them all once it reads a line. It is a separate
// process, so that its CPU time and descriptors do not count as the listener's. Few goroutines write, a little to each connection
// in turn, so that the sender does not determine which connection the listener serves. It ends with its standard input.
func runFlood(to string) error {
	addr, number, _ := strings.Cut(to, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(conns[i], "the first"); err != nil {
			return err
		}
	}
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return nil
	}
	block := bytes.Repeat(append(bytes.Repeat([]byte{'x'}, 511), '\n'), 16)
	for w := range min(n, 64) {
		go func() {
			for {
				for i := w; i < n; i += 64 {
					if _, err := conns[i].Write(block); err != nil {
						return
					}
					runtime.Gosched()
				}
			}
		}()
	}
	_, _ = in.ReadString('\n')
	return nil
}

// floodFrom starts runFlood, and returns a function that begins the flood.
func floodFrom(b *testing.B, addr net.Addr, n int) (begin func()) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), fmt.Sprintf("%s=%v %d", floodEnv, addr, n)), os.Stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return func() { fmt.Fprintln(in) }
}

// BenchmarkConnections floods a listener over many connections at a time. Fairness is the number of records of the connection with
// the fewest, divided by the mean; B/conn is the memory of an idle connection, with its goroutine.
func BenchmarkConnections(b *testing.B) {
	growing.Each(b, "conns", 1, 10_000, func(b *testing.B, n int) {
		l := listenTCP(b, &TCPOptions{Framing: Newline, Grace: -1, MaxConns: n, MaxConnsPerSource: n})
		sink := &perSource{had: map[netip.AddrPort]int{}}
		serve(b, l, sink)
		benchConnections(b, l.Addr(), n, &sink.n, sink.counts)
	})
}

// BenchmarkConnectionsBare is the limit: a goroutine for each connection, which reads into a buffer of the same size and counts lines.
func BenchmarkConnectionsBare(b *testing.B) {
	growing.Each(b, "conns", 1, 10_000, func(b *testing.B, n int) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		var lines atomic.Uint64
		had := make([]atomic.Int64, n)
		go func() {
			for i := range n {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					buf := make([]byte, smallBuffer)
					for {
						read, err := c.Read(buf)
						if err != nil {
							return
						}
						got := bytes.Count(buf[:read], []byte{'\n'})
						had[i].Add(int64(got))
						lines.Add(uint64(got))
					}
				}()
			}
		}()
		benchConnections(b, ln.Addr(), n, &lines, func() (all []int) {
			for i := range had {
				all = append(all, int(had[i].Load()))
			}
			return all
		})
	})
}

func benchConnections(b *testing.B, addr net.Addr, n int, records *atomic.Uint64, counts func() []int) {
	total := uint64(max(2000*n, 4_000_000))
	before := held()
	start := floodFrom(b, addr, n)
	until(b, records, uint64(n))
	idle := held() - before
	b.ResetTimer()
	begin, cpu, from := time.Now(), cpuSeconds(), records.Load()
	start()
	until(b, records, from+uint64(b.N)*total)
	b.StopTimer()
	got, least, sum := float64(records.Load()-from), math.MaxInt, 0
	for _, had := range counts() {
		least, sum = min(least, had), sum+had
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(got/time.Since(begin).Seconds()/1e3, "kpps")
	b.ReportMetric((cpuSeconds()-cpu)/got*1e6, "cpu-s/M")
	b.ReportMetric(float64(least)*float64(n)/float64(sum), "fairness")
	b.ReportMetric(idle/float64(n), "B/conn")
}

// until waits for so many records, and fails if none arrive for a long time.
func until(b *testing.B, n *atomic.Uint64, records uint64) {
	b.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for last, at := n.Load(), time.Now(); ; <-tick.C {
		now := n.Load()
		switch {
		case now >= records:
			return
		case now > last:
			last, at = now, time.Now()
		case time.Since(at) > 20*time.Second:
			b.Fatalf("%d of %d records for 20 s", now, records)
		}
	}
}

// held returns the bytes of the heap and of stacks in use.
func held() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkSources measures the cost of counting senders per record, by the number of senders: their memory does not
// grow.
func BenchmarkSources(b *testing.B) {
	growing.Each(b, "sources", 1, 100_000, func(b *testing.B, n int) {
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
