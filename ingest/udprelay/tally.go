package udprelay

import "net/netip"

// tally counts what happened to the datagrams of one batch.
type tally struct {
	targets []netip.AddrPort
	out     []uint64 // of targets
	dropped map[Cause]uint64
}

// reset begins a batch for targets.
func (t *tally) reset(targets []netip.AddrPort) {
	t.targets = targets
	t.out = append(t.out[:0], make([]uint64, len(targets))...)
	if t.dropped == nil {
		t.dropped = map[Cause]uint64{}
	}
	clear(t.dropped)
}

// senderPorts are the source ports of a sender: count ports from first on, at a distance of step. The zero value means one
// port that the kernel chooses.
type senderPorts struct{ first, step, count, index int }

// perPort is how many datagrams in a row leave from one port in the mode Generations, by one system call. It is the same for
// every port, so that the targets' shares stay even.
const perPort = 8
