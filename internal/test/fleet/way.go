//go:build linux

package fleet

import (
	"slices"
	"strings"
)

// way is a part of the way of datagrams, of which some have not reached its end.
type way struct {
	what     string
	missing  uint64
	machines []*Namespace // on it
}

// way notes datagrams that left one machine and did not reach the next. checkWays judges them.
func (v *Verdict) way(what string, missing uint64, machines ...*Namespace) {
	if missing == 0 {
		return
	}
	v.ways = append(v.ways, way{what, missing, machines})
	v.drop("an interface's queue", missing)
}

// checkWays checks that the datagrams which are missing on each way were dropped, and counted, by an interface of its machines. A drop
// excuses one datagram: ways that share a machine are compared with its drops together, too.
func (v *Verdict) checkWays(drops func(*Namespace) (uint64, error)) error {
	var together []way
	for _, w := range v.ways {
		if err := v.checkWay(w, drops); err != nil {
			return err
		}
		together = join(together, w)
	}
	for _, w := range together {
		if !slices.ContainsFunc(v.ways, func(one way) bool { return one.what == w.what }) {
			if err := v.checkWay(w, drops); err != nil {
				return err
			}
		}
	}
	return nil
}

// join adds a way to ways of which no two share a machine.
func join(apart []way, w way) (all []way) {
	w.machines = slices.Clone(w.machines)
	for _, other := range apart {
		if !slices.ContainsFunc(other.machines, func(n *Namespace) bool { return slices.Contains(w.machines, n) }) {
			all = append(all, other)
			continue
		}
		w.what, w.missing = strings.Join([]string{other.what, w.what}, "; "), w.missing+other.missing
		for _, n := range other.machines {
			if !slices.Contains(w.machines, n) {
				w.machines = append(w.machines, n)
			}
		}
	}
	return append(all, w)
}

func (v *Verdict) checkWay(w way, drops func(*Namespace) (uint64, error)) error {
	var dropped uint64
	for _, n := range w.machines {
		d, err := drops(n)
		if err != nil {
			return err
		}
		dropped += d
	}
	v.check(w.missing <= dropped, w.what+", every datagram that an interface dropped is counted", "missing %d, dropped by interfaces %d", w.missing, dropped)
	return nil
}
