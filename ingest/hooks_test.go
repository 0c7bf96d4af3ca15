package ingest

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// recordingHook adds up what it receives.
type recordingHook struct {
	mu       sync.Mutex
	account  segment.Account
	payloads []string
	panics   bool
}

func (h *recordingHook) OnReceived(r Received) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.account.Add(r.Account)
	for _, rec := range r.Records {
		h.payloads = append(h.payloads, string(rec.Data))
	}
	if h.panics {
		panic("a hook")
	}
}

// TestHookReceived: a hook is called with everything that Stats count as received, including kernel drops and lost frames,
// and with each record once. A panic of a hook is counted, and loses no record.
func TestHookReceived(t *testing.T) {
	for _, panics := range []bool{false, true} {
		h := &recordingHook{panics: panics}
		u := listenUDP(t, &UDPOptions{ReceiveBuffer: 64 << 10, MaxRecord: 300, Hooks: []Hook{h}})
		s := newSink()
		s.blocked = true
		wait := serve(t, u, s)
		c := dialUDP(t, u)
		for range 2000 {
			send(t, c, bytes.Repeat([]byte("x"), 300))
		}
		s.update(func() { s.blocked = false })
		s.await(t, "some", func() bool { return s.n > 0 })
		send(t, c, make([]byte, 301))
		shutdown(t, u)
		wait()
		st := u.Stats()
		if st.DropsKnown && st.Lost[segment.KernelOverflow].Records == 0 || h.account.Received != st.Received || h.account.Lost != st.Lost || uint64(len(h.payloads)) != s.n {
			t.Errorf("udp: told %+v and %d records, Stats %+v %+v, kept %d", h.account, len(h.payloads), st.Received, st.Lost, s.n)
		}
		if (st.Panics > 0) != panics {
			t.Errorf("%d panics", st.Panics)
		}
		s.balance(t, st)

		h = &recordingHook{panics: panics}
		l := listenTCP(t, &TCPOptions{MaxRecord: 10, Hooks: []Hook{h}})
		s = newSink()
		wait = serve(t, l, s)
		tc := dialTCP(t, l)
		send(t, tc, []byte("one\ntwo\n"+strings.Repeat("x", 100)+"\nthree\nunterminated"))
		tc.Close()
		s.await(t, "3 records", func() bool { return s.n >= 3 })
		shutdown(t, l)
		wait()
		st = l.Stats()
		if h.account.Received != st.Received || h.account.Lost != st.Lost || strings.Join(h.payloads[:3], " ") != "one two three" {
			t.Errorf("tcp: told %+v and %q, Stats %+v %+v", h.account, h.payloads, st.Received, st.Lost)
		}
		if (st.Panics > 0) != panics {
			t.Errorf("%d panics", st.Panics)
		}
		s.balance(t, st)
	}
}

// TestHooksChecked: a value without a method that is ever called is refused.
func TestHooksChecked(t *testing.T) {
	for _, bad := range []Hook{nil, "a string", struct{}{}, (*recordingHook)(nil)} {
		if _, err := ListenUDP("127.0.0.1:0", &UDPOptions{Hooks: []Hook{bad}}); err == nil || !strings.Contains(err.Error(), "OnReceived") {
			t.Errorf("UDP with %T: %v", bad, err)
		}
		if _, err := Listen("tcp://127.0.0.1:0", &Options{Hooks: []Hook{bad}}); err == nil || !strings.Contains(err.Error(), "OnReceived") {
			t.Errorf("TCP with %T: %v", bad, err)
		}
	}
}

// TestStatsOfSenders: Stats name the senders and the sockets.
func TestStatsOfSenders(t *testing.T) {
	u := listenUDP(t, &UDPOptions{Sockets: 2, ReceiveBuffer: 1 << 20})
	s := newSink()
	wait := serve(t, u, s)
	for range 4 {
		send(t, dialUDP(t, u), []byte("four"))
	}
	s.await(t, "4 records", func() bool { return s.n == 4 })
	shutdown(t, u)
	wait()
	st := u.Stats()
	if len(st.Senders) != 1 || st.Senders[0].Received != (segment.Tally{Records: 4, Bytes: 16}) || !st.Senders[0].LastRecord.Equal(st.LastRecord.Round(0)) && st.Senders[0].LastRecord.Sub(st.LastRecord).Abs() > 1e9 {
		t.Errorf("senders %+v, the last arrival at %v", st.Senders, st.LastRecord)
	}
	if len(st.Sockets) != 2 || st.Sockets[0].Requested != 1<<20 || st.Sockets[0].Buffer+st.Sockets[1].Buffer != st.ReceiveBuffer {
		t.Errorf("sockets %+v, receive buffer %d", st.Sockets, st.ReceiveBuffer)
	}
	l := listenTCP(t, nil)
	s = newSink()
	wait = serve(t, l, s)
	c := dialTCP(t, l)
	send(t, c, []byte("one\ntwo\n"))
	c.Close()
	s.await(t, "2 records", func() bool { return s.n == 2 })
	shutdown(t, l)
	wait()
	if st := l.Stats(); len(st.Senders) != 1 || st.Senders[0].Received != (segment.Tally{Records: 2, Bytes: 6}) {
		t.Errorf("senders %+v", st.Senders)
	}
}
