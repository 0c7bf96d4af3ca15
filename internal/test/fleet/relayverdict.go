//go:build linux

package fleet

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// RelayVerdict is the account of one relay, by itself.
type RelayVerdict struct {
	Name    string
	In, Out uint64
	Dropped map[udprelay.Cause]uint64
}

// relays checks the account of each relay.
func (v *Verdict) relays(s *Stage, feeds []*Feed, fwd map[string]forwarded) error {
	for _, f := range feeds {
		r := s.heavy
		switch f.Run {
		case heavyName:
		case sprayName:
			r = s.spray
		default:
			continue
		}
		k, sent := fwd[r.name], f.Sent.Load()
		v.check(sent >= k.In, r.name+": its machine has not seen more than was sent", "sent %d, seen %d", sent, k.In)
		v.way(r.name+": from the clients", sent-min(sent, k.In), f.ns, r.ns)
		a, err := r.account()
		if err != nil {
			return err
		}
		v.relay(r, a, k)
	}
	return nil
}

// relay compares a relay's account with the counters that its machine's kernel keeps in a table unknown to the relay: at each
// place that a datagram passes, and for each target.
func (v *Verdict) relay(r *Relay, a *udprelay.Account, k forwarded) {
	same := a.In == k.In && a.Sent() == k.Out()
	for addr, n := range k.To {
		same = same && a.Out[netip.AddrPortFrom(addr, r.port)] == n
	}
	v.check(same && a.Balanced() && a.Passing == 0, r.name+": its account is that of its kernel, for every target, over its restarts",
		"in %d, out %d, dropped %v, passing %d; kernel: in %d, out %d, %v", a.In, a.Sent(), a.Dropped, a.Passing, k.In, k.Out(), k.To)
	var others uint64
	for cause, n := range a.Dropped {
		if cause != udprelay.NoTarget && cause != udprelay.Unforwarded {
			others += n
		}
		v.drop(fmt.Sprintf("%s (relay)", cause), n)
	}
	v.check(a.Dropped[udprelay.NoTarget] == k.In-k.Aimed && a.Dropped[udprelay.Unforwarded] == k.Refused && k.Aimed-k.Out() == k.Refused && others == 0,
		r.name+": every datagram that it dropped is counted, by cause", "%v; kernel: %d had no target, a rule refused %d", a.Dropped, k.In-k.Aimed, k.Refused)
	v.Relays = append(v.Relays, RelayVerdict{r.name, a.In, a.Sent(), a.Dropped})
}

// account waits until nothing passes, and returns the relay's account.
func (r *Relay) account() (a *udprelay.Account, err error) {
	err = until(15*time.Second, func() error {
		st, err := r.page("/status.json")
		if err != nil {
			return err
		}
		if a = st.Account; a.Passing > 0 {
			return fmt.Errorf("%s: %d datagrams are passing", r.name, a.Passing)
		}
		return nil
	})
	return a, err
}
