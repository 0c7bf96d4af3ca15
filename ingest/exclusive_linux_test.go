package ingest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Several sockets share a port with each other and with nobody else: two listeners on one address would each get a part of
// every class of traffic.
func TestUDPSocketsExclusive(t *testing.T) {
	u := listenUDP(t, &UDPOptions{Sockets: 2})
	s := newSink()
	wait := serve(t, u, s)
	for range 100 {
		send(t, dialUDP(t, u), []byte("x"))
	}
	s.await(t, "100 records", func() bool { return s.n == 100 })
	for i, k := range u.sockets {
		var sum Stats
		if sum.add(&k.meter); sum.Received.Records == 0 {
			t.Errorf("socket %d has no part of 100 flows", i)
		}
	}
	for _, n := range []int{1, 2} {
		other, err := ListenUDP(u.Addr().String(), &UDPOptions{Sockets: n})
		if err == nil {
			other.Close()
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a second listener with %d sockets: %v", n, err)
		}
	}
	one := listenUDP(t, nil)
	defer one.Close()
	if _, err := ListenUDP(one.Addr().String(), &UDPOptions{Sockets: 2}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second listener beside one socket: %v", err)
	}
	shutdown(t, u)
	wait()
}
