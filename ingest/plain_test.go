package ingest

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// makePlain replaces the only socket of a listener by one that is read as on other systems.
func makePlain(t testing.TB, u *UDP) {
	t.Helper()
	u.sockets[0].conn.Close()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.sockets = []*socket{newPlainSocket(pc, &u.o, u.log)}
	u.addr = pc.LocalAddr()
}

// The receiver of other systems, tested on this one: it returns the same records, and reports that drops are unknown.
func TestPlain(t *testing.T) {
	u := listenUDP(t, &UDPOptions{MaxRecord: 1000})
	makePlain(t, u)
	if u.Stats().DropsKnown {
		t.Error("claims to know of drops")
	}
	s := newSink()
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	begin := time.Now().UnixNano()
	for _, n := range []int{0, 1000, 1001, 65507, 3} {
		send(t, c, make([]byte, n))
	}
	shutdown(t, u)
	wait()
	if s.n != 3 || s.bytes != 1003 {
		t.Errorf("kept %d records, %d bytes", s.n, s.bytes)
	}
	for _, r := range s.recs {
		if r.Src != c.LocalAddr().(*net.UDPAddr).AddrPort() || r.Time < begin || r.Time > time.Now().UnixNano() {
			t.Errorf("from %v at %d", r.Src, r.Time)
		}
	}
	if got, want := u.Stats().Lost[segment.Truncated], (segment.Loss{Records: 2, Bytes: 66508}); got != want {
		t.Errorf("truncated %+v, want %+v", got, want)
	}
	s.balance(t, u.Stats())
}

// endless is a receiver that always gets datagrams that are too long. Some are queued from the start.
type endless struct {
	t      *testing.T
	timed  bool // arrival times are known
	queued int
	calls  int
}

func (e *endless) receive(bool) (burst, error) {
	if e.calls++; e.calls > 10_000 {
		e.t.Fatal("it is read without end")
	}
	b := burst{truncated: segment.Tally{Records: 1, Bytes: 9000}}
	if e.calls > e.queued {
		time.Sleep(settleTime * 3 / 4)
		if e.timed {
			b.last = segment.Nanos(time.Now())
		}
	}
	return b, nil
}

func (e *endless) counts() (socketCounts, bool) { return socketCounts{}, false }
func (e *endless) detach() error                { return errors.ErrUnsupported }

// A socket that cannot be detached keeps receiving while it is being closed. It is read until everything that had arrived is read,
// not for as long as somebody sends: if the system cannot detach it, and if another process has it too.
func TestDrainEnds(t *testing.T) {
	u := listenUDP(t, nil)
	defer u.Close()
	for name, s := range map[string]*socket{"alone": {}, "shared": {shared: true}} {
		for _, timed := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				const queued = 5000
				sink := newSink()
				s.conn, s.log, s.sink, s.offer = u.sockets[0].conn, u.log, sink, sink.Offer
				s.recv = &endless{t: t, timed: timed, queued: queued}
				begun := time.Now()
				if err := s.detach(); err == nil && !s.shared {
					t.Error("it says that it is detached")
				}
				s.finish(t.Context())
				if n, took := sink.acct.Lost[segment.Truncated].Records, time.Since(begun); n <= queued || took > 2*longDrain {
					t.Errorf("%s, timed %v: read %d of %d in %v", name, timed, n, queued, took)
				}
			})
		}
	}
}
