//go:build linux

package fleet

import (
	"net/netip"
	"testing"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// TestRelayVerdict: one datagram that is lost, doubled, counted for another target or under another cause fails the verdict on a relay.
func TestRelayVerdict(t *testing.T) {
	a, b := netip.MustParseAddr("10.250.3.11"), netip.MustParseAddr("10.250.3.12")
	const port = 514
	aTo, bTo := netip.AddrPortFrom(a, port), netip.AddrPortFrom(b, port)
	for name, change := range map[string]func(*udprelay.Account, *forwarded){
		"":                        func(*udprelay.Account, *forwarded) {},
		"not counted as in":       func(x *udprelay.Account, _ *forwarded) { x.In-- },
		"lost after the relay":    func(_ *udprelay.Account, k *forwarded) { k.To[a]-- },
		"doubled":                 func(_ *udprelay.Account, k *forwarded) { k.To[a]++ },
		"lost, and in no account": func(x *udprelay.Account, k *forwarded) { x.Out[aTo]--; k.To[a]-- },
		"of another target":       func(x *udprelay.Account, _ *forwarded) { x.Out[aTo]--; x.Out[bTo]++ },
		"another cause": func(x *udprelay.Account, _ *forwarded) {
			x.Dropped[udprelay.NoTarget]++
			x.Dropped[udprelay.Unforwarded]--
		},
		"a cause of nobody":        func(x *udprelay.Account, _ *forwarded) { x.In++; x.Dropped[udprelay.Queue]++ },
		"still passing":            func(x *udprelay.Account, _ *forwarded) { x.In++; x.Passing++ },
		"dropped, but not refused": func(_ *udprelay.Account, k *forwarded) { k.Refused-- },
		"sent to a stranger":       func(x *udprelay.Account, k *forwarded) { x.Out[netip.MustParseAddrPort("192.0.2.1:1")]++; x.Out[aTo]-- },
	} {
		x := &udprelay.Account{
			In: 100, Out: map[netip.AddrPort]uint64{aTo: 40, bTo: 40}, Dropped: map[udprelay.Cause]uint64{udprelay.NoTarget: 15, udprelay.Unforwarded: 5},
		}
		k := forwarded{In: 100, Aimed: 85, Refused: 5, To: map[netip.Addr]uint64{a: 40, b: 40}}
		change(x, &k)
		v := &Verdict{Dropped: map[string]uint64{}}
		v.relay(&Relay{name: sprayName, port: port}, x, k)
		if v.OK() != (name == "") {
			t.Errorf("%q: %+v", name, v.Checks)
		}
	}
}
