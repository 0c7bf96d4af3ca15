package ingest

import (
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/units"
)

// Why the kernel drops datagrams, as far as it and this process can tell. Each is a line of its own, with what to do.
const (
	dropsSink = "the kernel dropped datagrams because the spool made the listener wait: it is full, or its disk is slow (see its own lines)"
	dropsCut  = "the kernel dropped datagrams because it granted a smaller receive buffer than asked for: raise net.core.rmem_max, or give the process CAP_NET_ADMIN"
	dropsMem  = "the kernel dropped datagrams because the UDP sockets of this host have used up their common memory: raise net.ipv4.udp_mem"
	dropsSum  = "the kernel dropped datagrams whose checksum is wrong: they were damaged on the way"
	dropsRate = "the kernel dropped datagrams because they came faster than the process reads them: raise the receive buffer or the number of sockets"
)

// sinkWaitLeast is how long a sink has to make a listener wait to be the cause of drops. A receive buffer lasts longer.
const sinkWaitLeast = 50 * time.Millisecond

// udpErrors are the kernel's counters of all UDP sockets of this network namespace (/proc/net/snmp): why it has dropped
// what it has.
type udpErrors struct {
	mem uint64 // MemErrors: net.ipv4.udp_mem
	sum uint64 // InCsumErrors
}

// causeOfDrops chooses the line for n drops. waited is how long the sink made the listener wait meanwhile.
func causeOfDrops(n uint64, waited time.Duration, asked, granted int, was, now udpErrors) string {
	switch {
	case waited >= sinkWaitLeast:
		return dropsSink
	case 2*growth(now.mem, was.mem) > n: // the counters are of all sockets, so they only have to explain most of it
		return dropsMem
	case 2*growth(now.sum, was.sum) > n:
		return dropsSum
	case granted > 0 && granted < asked:
		return dropsCut
	}
	return dropsRate
}

// toldDrops is what the log has said of a socket's drops, and what it needs for the next line.
type toldDrops struct {
	drops  uint64
	errors udpErrors
	waited time.Duration // since then, the longest
}

// tellDrops logs what the socket has dropped since the last line about it. pollMu is held.
func (s *socket) tellDrops() {
	t := &s.told
	n, now := s.drops-t.drops, readUDPErrors()
	msg := causeOfDrops(n, t.waited, s.asked, s.buffer, t.errors, now)
	skipped, ok := s.log.allow(msg, time.Now())
	if !ok {
		return
	}
	attrs := []any{
		"addr", s.conn.LocalAddr().String(), "records", n, "total", s.drops, "receive_buffer", units.Size(s.buffer),
		"holds_datagrams", s.buffer / perDatagram,
	}
	if msg == dropsSink {
		attrs = append(attrs, "waited", t.waited.Round(time.Millisecond))
	}
	if skipped > 0 {
		attrs = append(attrs, "suppressed", skipped)
	}
	s.log.log.Warn(msg, attrs...)
	*t = toldDrops{drops: s.drops, errors: now}
}

// sinkWait knows how long a sink makes its listener wait. take may be called while the listener waits.
type sinkWait struct {
	since   atomic.Int64 // when the wait that goes on has begun, after clockBase; 0 none
	longest atomic.Int64 // of those that have ended since the last take
}

// clockBase makes times that fit into an atomic, and are not moved by a clock that is set.
var clockBase = time.Now()

func (w *sinkWait) start(now time.Time) { w.since.Store(max(1, int64(now.Sub(clockBase)))) }

func (w *sinkWait) stop(began, now time.Time) {
	w.since.Store(0)
	if d := int64(now.Sub(began)); d > w.longest.Load() {
		w.longest.Store(d)
	}
}

// take returns the longest wait since the last call, one that goes on included.
func (w *sinkWait) sinceLast(now time.Time) time.Duration {
	d := time.Duration(w.longest.Swap(0))
	if since := w.since.Load(); since != 0 {
		d = max(d, now.Sub(clockBase)-time.Duration(since))
	}
	return d
}
