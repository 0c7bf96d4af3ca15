package ingest

import (
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/units"
)

// The log lines about dropped datagrams: one for each reason that can be determined, with its remedy.
const (
	dropsSink = "ingest: the kernel dropped datagrams while the listener waited for the spool, which is full or has a slow disk (see the spool's log lines)"
	dropsCut  = "ingest: the kernel dropped datagrams because it granted a smaller receive buffer than requested; raise net.core.rmem_max or give the process CAP_NET_ADMIN"
	dropsMem  = "ingest: the kernel dropped datagrams because this host's UDP sockets have used up their shared memory; raise net.ipv4.udp_mem"
	dropsSum  = "ingest: the kernel dropped datagrams with a wrong checksum; they were damaged in transit"
	dropsRate = "ingest: the kernel dropped datagrams because they arrived faster than the process reads them; raise the receive buffer or the number of sockets"
)

// sinkWaitLeast is the shortest wait for a sink that is considered the cause of drops. A receive buffer lasts longer.
const sinkWaitLeast = 50 * time.Millisecond

// udpErrors are the kernel's counters of all UDP sockets of this network namespace (/proc/net/snmp), which give reasons
// for drops.
type udpErrors struct {
	mem uint64 // MemErrors: net.ipv4.udp_mem
	sum uint64 // InCsumErrors
}

// causeOfDrops chooses the log line for n drops. waited is how long the sink made the listener wait in the meantime.
func causeOfDrops(n uint64, waited time.Duration, asked, granted int, was, now udpErrors) string {
	switch {
	case waited >= sinkWaitLeast:
		return dropsSink
	case 2*growth(now.mem, was.mem) > n: // the counters cover all sockets, so they need to explain only most of the drops
		return dropsMem
	case 2*growth(now.sum, was.sum) > n:
		return dropsSum
	case granted > 0 && granted < asked:
		return dropsCut
	}
	return dropsRate
}

// toldDrops is the state of a socket's drops as of the last log line about them, from which the next line is made.
type toldDrops struct {
	drops  uint64
	errors udpErrors
	waited time.Duration // the longest wait for the sink since then
	looked time.Time     // when a reason was last looked for
}

// tellDrops logs what the socket has dropped since the last line about it. pollMu is held.
func (s *socket) tellDrops() {
	t := &s.told
	if s.polled.Sub(t.looked) < pollBusy { // looking for a reason takes 0.1 ms, during which the queue grows
		return
	}
	t.looked = s.polled
	n, now := s.drops-t.drops, readUDPErrors()
	msg := causeOfDrops(n, t.waited, s.asked, s.buffer, t.errors, now)
	more, ok := s.log.allow(msg, time.Now())
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
	s.log.log.Warn(msg, append(attrs, more...)...)
	*t = toldDrops{drops: s.drops, errors: now, looked: t.looked}
}

// sinkWait measures how long a sink makes its listener wait. sinceLast may be called while the listener waits.
type sinkWait struct {
	since   atomic.Int64 // when the current wait began, after clockBase; 0 none
	longest atomic.Int64 // of the waits that have ended since the last call of sinceLast
}

// clockBase makes times that fit into an atomic and do not change when the clock is set.
var clockBase = time.Now()

func (w *sinkWait) start(now time.Time) { w.since.Store(max(1, int64(now.Sub(clockBase)))) }

func (w *sinkWait) stop(began, now time.Time) {
	w.since.Store(0)
	if d := int64(now.Sub(began)); d > w.longest.Load() {
		w.longest.Store(d)
	}
}

// sinceLast returns the longest wait since the last call, including one that has not ended.
func (w *sinkWait) sinceLast(now time.Time) time.Duration {
	d := time.Duration(w.longest.Swap(0))
	if since := w.since.Load(); since != 0 {
		d = max(d, now.Sub(clockBase)-time.Duration(since))
	}
	return d
}
