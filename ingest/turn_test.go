package ingest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// eagerBlock is a buffer full of few records, so that a read is cheap.
var eagerBlock = bytes.Repeat(append(bytes.Repeat([]byte{'x'}, 8191), '\n'), smallBuffer/8192)

// eager is a connection whose peer sends faster than the listener reads: only the first Read waits, for the other
// connections.
type eager struct {
	net.Conn
	peer  net.Addr
	begun func()
	reads int
}

func (e *eager) Read(p []byte) (int, error) {
	if e.begun != nil {
		e.begun()
		e.begun = nil
	}
	if e.reads--; e.reads < 0 {
		return 0, io.EOF
	}
	return copy(p, eagerBlock), nil
}

func (e *eager) LocalAddr() net.Addr             { return e.peer }
func (e *eager) RemoteAddr() net.Addr            { return e.peer }
func (e *eager) SetReadDeadline(time.Time) error { return nil }
func (e *eager) Close() error                    { return nil }

// sources notes from which connection each batch came.
type sources struct {
	mu  sync.Mutex
	all []netip.AddrPort
	n   uint64 // records
}

func (s *sources) Append(_ context.Context, b []segment.Record) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, b[0].Src)
	s.n += uint64(len(b))
	return s.n, nil
}

func (s *sources) Offer(ctx context.Context, b []segment.Record) (uint64, error) {
	return s.Append(ctx, b)
}

func (s *sources) Account(segment.Account) {}

// TestTurns: connections whose peers always have more to send take turns, even on one processor.
func TestTurns(t *testing.T) {
	const conns, reads, most = 3, 2000, 3 * turn / smallBuffer // most: the runtime may stop a connection just before its turn ends
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l := listenTCP(t, &TCPOptions{Framing: Newline})
	sink := &sources{}
	l.sink, l.append = sink, sink.Append
	var all, begun sync.WaitGroup
	begun.Add(conns)
	for i := range conns {
		nc := &eager{peer: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: i + 1}, reads: reads, begun: func() { begun.Done(); begun.Wait() }}
		all.Go(newConn(l, nc).serve)
	}
	all.Wait()
	if n := sink.n; n != conns*reads*(smallBuffer/8192) {
		t.Fatalf("%d records", n)
	}
	for _, one := range slices.Compact(slices.Clone(sink.all)) {
		left, run := 0, 0
		for _, src := range sink.all {
			if src != one {
				left++
			}
		}
		for _, src := range sink.all {
			switch {
			case src != one:
				run, left = 0, left-1
			case left > reads: // both others have something left
				if run++; run > most {
					t.Fatalf("%v had %d reads in a row while others waited", one, run)
				}
			}
		}
	}
}
