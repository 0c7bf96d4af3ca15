//go:build linux

package fleet

import "testing"

// TestWays: a drop excuses one missing datagram, whichever way of its machine it was on.
func TestWays(t *testing.T) {
	clients, front, relay, server := &Namespace{name: "clients"}, &Namespace{name: "front"}, &Namespace{name: "relay"}, &Namespace{name: "server"}
	for name, c := range map[string]struct {
		dropped map[*Namespace]uint64
		missing [4]uint64 // on each way below
		wrong   int
	}{
		"nothing is missing":            {nil, [4]uint64{}, 0},
		"each has its own":              {map[*Namespace]uint64{front: 1, relay: 2, server: 3}, [4]uint64{1, 2, 0, 3}, 0},
		"one drop for two":              {map[*Namespace]uint64{clients: 1}, [4]uint64{1, 1, 0, 0}, 1},
		"two drops for two":             {map[*Namespace]uint64{clients: 2}, [4]uint64{1, 1, 0, 0}, 0},
		"joined by a third":             {map[*Namespace]uint64{front: 1, relay: 1}, [4]uint64{1, 1, 1, 0}, 1},
		"a drop of another machine":     {map[*Namespace]uint64{server: 1}, [4]uint64{1, 0, 0, 0}, 1},
		"a drop on another way of them": {map[*Namespace]uint64{front: 2}, [4]uint64{1, 1, 0, 0}, 1},
	} {
		v := &Verdict{Dropped: map[string]uint64{}}
		v.way("a", c.missing[0], clients, front)
		v.way("b", c.missing[1], clients, relay)
		v.way("c", c.missing[2], front, relay)
		v.way("d", c.missing[3], server)
		if err := v.checkWays(func(n *Namespace) (uint64, error) { return c.dropped[n], nil }); err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for _, check := range v.Checks {
			if !check.OK {
				wrong++
			}
		}
		if wrong != c.wrong {
			t.Errorf("%s: %d checks fail, want %d: %+v", name, wrong, c.wrong, v.Checks)
		}
	}
}
