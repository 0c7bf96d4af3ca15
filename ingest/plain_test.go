package ingest

import (
	"net"
	"testing"
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

// What other systems use, on this one: the same records, and drops that it does not know and does not deny.
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
