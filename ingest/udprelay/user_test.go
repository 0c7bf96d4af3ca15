package udprelay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a target: it keeps what arrives.
type box chan string

func (b box) Append(ctx context.Context, batch []segment.Record) (uint64, error) {
	return b.Offer(ctx, batch)
}

func (b box) Offer(_ context.Context, batch []segment.Record) (uint64, error) {
	for _, r := range batch {
		b <- fmt.Sprintf("%v %.20s %d", r.Src, r.Data, len(r.Data))
	}
	return 0, nil
}

func (b box) Account(segment.Account) {}

// newBox listens on the loopback, and trusts its PROXY headers.
func newBox(t *testing.T) (b box, at netip.AddrPort) {
	t.Helper()
	b = make(box, 1000)
	u, err := ingest.ListenUDP("127.0.0.1:0", &ingest.UDPOptions{Network: "udp4", ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = u.Serve(b) }()
	t.Cleanup(func() { u.Close(); <-served })
	return b, netip.MustParseAddrPort(u.Addr().String())
}

// free returns a UDP port that is not in use.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// TestUser: datagrams that arrive before the targets are known wait, the sender's address is passed on, and the account
// balances.
func TestUser(t *testing.T) {
	at := free(t)
	u, err := NewUser(&Options{Listen: []netip.AddrPort{at}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write := func(size int) {
		if _, err := c.Write([]byte(strings.Repeat("x", size))); err != nil {
			t.Fatal(err)
		}
	}
	a, aAt := newBox(t)
	b, bAt := newBox(t)
	for range 10 {
		write(5)
	}
	if err := u.Use(t.Context(), []netip.AddrPort{at}); err == nil {
		t.Error("the relay sends to itself")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- u.Run(ctx) }()
	if err := u.Use(ctx, []netip.AddrPort{aAt, bAt}); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%v xxxxx 5", c.LocalAddr())
	for range 5 {
		for _, x := range []box{a, b} {
			if got := <-x; got != want {
				t.Errorf("%q arrived, want %q", got, want)
			}
		}
	}
	write(0) // an empty datagram counts too
	write(65500)
	if err := u.Use(ctx, []netip.AddrPort{aAt}); err != nil {
		t.Fatal(err)
	}
	write(1)
	cancel() // what has arrived is sent
	if err := <-ended; err != nil {
		t.Error(err)
	}
	got, err := u.Account(t.Context())
	if err != nil || got.In != 13 || got.Sent() != 12 || got.Dropped[TooLong] != 1 || !got.Balanced() || got.Passing != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUserUnreachable: a datagram that cannot be sent to one target is sent to another, and is counted as dropped if none
// is left.
func TestUserUnreachable(t *testing.T) {
	at := free(t)
	u, err := NewUser(&Options{Listen: []netip.AddrPort{at}, NoHeader: true})
	if err != nil {
		t.Fatal(err)
	}
	b, good := newBox(t)
	bad := netip.MustParseAddrPort("240.0.0.1:9") // no kernel sends there
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- u.Run(ctx) }()
	c, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wait := func(n uint64) *Account {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			if a := u.snapshot(); a.In == n && a.Passing == 0 {
				return a
			}
			<-tick.C
		}
	}
	for i, targets := range [][]netip.AddrPort{{bad, good}, {bad}, {}} {
		if err := u.Use(ctx, targets); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		wait(uint64(4 * (i + 1)))
	}
	a := wait(12)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	reached := a.Out[good]
	if len(b) > int(reached) || reached+a.Dropped[Unreachable]+a.Out[bad] != 8 || a.Dropped[NoTarget] != 4 || !a.Balanced() {
		t.Errorf("%+v, %d arrived", a, len(b))
	}
}

func TestHeader(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"192.0.2.1:258", "10.0.0.1:514", "0d0a0d0a000d0a515549540a2112000cc00002010a00000101020202"},
		{
			"[2001:db8::1]:258", "[fd00::1]:514",
			"0d0a0d0a000d0a515549540a2122002420010db8000000000000000000000001fd000000000000000000000000000001" + "01020202",
		},
	} {
		var b [maxHeader]byte
		n := putHeader(&b, netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to))
		if got := fmt.Sprintf("%x", b[:n]); got != c.want {
			t.Errorf("%s: %s, want %s", c.from, got, c.want)
		}
	}
}

// TestUserItself: a relay that listens at all addresses of the host refuses a target at one of them: it would send to itself
// without end.
func TestUserItself(t *testing.T) {
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), free(t).Port())
	u, err := NewUser(&Options{Listen: []netip.AddrPort{at}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { u.closeSenders(); u.close() }()
	if err := u.Use(t.Context(), []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())}); err == nil {
		t.Error("the relay sends to itself")
	}
	if err := u.Use(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}); err != nil {
		t.Error(err)
	}
}

// TestUserHalf: when one of the sockets fails, the relay ends. It does not continue without that socket.
func TestUserHalf(t *testing.T) {
	u, err := NewUser(&Options{Listen: []netip.AddrPort{free(t), free(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Use(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- u.Run(ctx) }()
	if err := u.listeners[1].Close(); err != nil {
		t.Fatal(err)
	}
	if <-ended; ctx.Err() != nil {
		t.Error("the relay goes on with half of its sockets")
	}
}

// TestUserGivesUp: when the time for the end is over, the rest is given up and counted, and nothing waits for it to be sent.
func TestUserGivesUp(t *testing.T) {
	at := free(t)
	u, err := NewUser(&Options{Listen: []netip.AddrPort{at}})
	if err != nil {
		t.Fatal(err)
	}
	_, target := newBox(t)
	if err := u.Use(t.Context(), []netip.AddrPort{target}); err != nil {
		t.Fatal(err)
	}
	busy := <-u.senders // the sender is busy
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = u.listeners[0].Serve(&spreader{u: u, at: at})
	}()
	for u.listeners[0].Ready() != nil {
		runtime.Gosched()
	}
	c, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 100 { // more than one batch
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := u.shutdown(over); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	select {
	case <-served:
	case <-time.After(20 * time.Second):
		t.Error("it waits for datagrams to be sent")
	}
	u.senders <- busy
	u.closeSenders()
	if a := u.snapshot(); a.In != 100 || a.Dropped[GivenUp] != 100 || !a.Balanced() {
		t.Errorf("%+v", a)
	}
}
