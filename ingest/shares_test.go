package ingest

import (
	"errors"
	"strings"
	"testing"
)

// TestShares: how much is reserved, and how much each listener may use.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		descriptors int
		memory      int64
		listeners   int
		want        int
	}{
		{0, 0, 1, 4096},
		{1 << 20, 64 << 30, 1, 4096},
		{1024, 0, 1, 768},
		{1024, 0, 2, 384},
		{128, 0, 2, 32},
		{65, 0, 1, 1},
		{65, 0, 3, 1},
		{1 << 20, 512 << 20, 2, 409},
		{1024, 512 << 20, 1, 768},
	} {
		s := newShares(c.descriptors, c.memory)
		for range c.listeners {
			if err := s.join(); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.most(4096); got != c.want {
			t.Errorf("%+v: %d connections", c, got)
		}
	}
	if err := newShares(64, 0).join(); !errors.Is(err, errNoShare) || !strings.Contains(err.Error(), "LimitNOFILE") {
		t.Errorf("%v", err)
	}
}

// TestConnectionsShared: a flood of connections to one listener leaves the other its share, and one source leaves half of a
// share to others; released connections can be used again.
func TestConnectionsShared(t *testing.T) {
	shares := newShares(reserved+8, 0)
	listen := func() (*TCP, func()) {
		l, err := listenShared("127.0.0.1:0", &TCPOptions{Framing: Newline, Grace: -1, MaxConns: 100}, shares)
		if err != nil {
			t.Fatal(err)
		}
		return l, serve(t, l, newSink())
	}
	a, endA := listen()
	b, endB := listen()
	flood := func(l *TCP, n int) (open int) {
		for range n {
			c := dialTCP(t, l)
			send(t, c, []byte("x\n"))
		}
		for { // each is either open or refused
			st := l.Stats()
			if st.Conns+int(st.Refused) >= n {
				return st.Conns
			}
		}
	}
	if open := flood(a, 12); open != 2 { // of 4, since they all come from one source
		t.Errorf("%d connections are open at the first listener", open)
	}
	if open := flood(b, 1); open != 1 {
		t.Errorf("%d connections are open at the second listener", open)
	}
	shutdown(t, a)
	endA()
	if n := shares.most(100); n != 8 {
		t.Errorf("a listener that is alone may have %d connections", n)
	}
	shutdown(t, b)
	endB()
	if shares.open != 0 || shares.listeners != 0 {
		t.Errorf("%d connections and %d listeners are left", shares.open, shares.listeners)
	}
	abandoned, err := listenShared("127.0.0.1:0", nil, shares)
	if err != nil {
		t.Fatal(err)
	}
	abandoned.Close()
	if _, err := listenShared("127.0.0.1:-1", nil, shares); err == nil || shares.listeners != 0 {
		t.Errorf("%v, %d listeners are left", err, shares.listeners)
	}
}

// TestLargeFramesShared: large frames of one listener use at most its share of the memory, and one frame always finds
// room.
func TestLargeFramesShared(t *testing.T) {
	shares := newShares(0, 4<<20) // 1 MiB for large frames
	for range 2 {
		if err := shares.join(); err != nil {
			t.Fatal(err)
		}
	}
	b := newBudget(256<<20, shares.largest)
	fits := func(n int64) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.fits(n)
	}
	if !fits(1 << 20) {
		t.Error("one frame that is larger than the part never finds room")
	}
	if err := b.acquire(t.Context(), 300<<10); err != nil {
		t.Fatal(err)
	}
	if !fits(212<<10) || fits(213<<10) {
		t.Error("the part is not 512 KiB")
	}
	shares.leave()
	if !fits(700 << 10) {
		t.Error("the part is not 1 MiB once the other listener has gone")
	}
}
