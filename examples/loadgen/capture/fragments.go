package capture

import (
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
)

const (
	// fragmentTime is how long the fragments of a datagram wait for each other, as in Linux.
	fragmentTime = 30 * time.Second
	// maxWaiting bounds the datagrams that wait for fragments.
	maxWaiting = 4096
)

// fragments joins fragments of IPv4. It counts fragments of IPv6 as incomplete: UDP senders avoid them, and routers drop them.
type fragments struct {
	four  *ip4defrag.IPv4Defragmenter
	wait  map[fragmentKey]waiting
	lost  uint64 // fragments whose datagram was given up
	whole uint64 // fragments of joined datagrams since joined was called
}

type fragmentKey struct {
	from, to netip.Addr
	id       uint16
	protocol layers.IPProtocol
}

type waiting struct {
	n    uint64
	last time.Time
}

func newFragments() fragments {
	return fragments{four: ip4defrag.NewIPv4Defragmenter(), wait: map[fragmentKey]waiting{}}
}

// waiting returns how many fragments have not become part of a datagram.
func (f *fragments) waiting() (n uint64) {
	for _, w := range f.wait {
		n += w.n
	}
	return n + f.lost
}

// joined returns how many fragments, not counting the last one of each datagram, have become part of a datagram since the last
// call.
func (f *fragments) joined() (n uint64) {
	n, f.whole = f.whole, 0
	return n
}

// transport returns the UDP datagram that a packet carries, with its header, or the cause why there is none.
func (f *fragments) transport(packet gopacket.Packet, network gopacket.NetworkLayer, at time.Time) (from netip.Addr, payload []byte, cause string) {
	switch ip := network.(type) {
	case *layers.IPv4:
		from, _ = netip.AddrFromSlice(ip.SrcIP.To4())
		if ip.Protocol != layers.IPProtocolUDP {
			return from, nil, NotUDP
		}
		if ip.Flags&layers.IPv4MoreFragments != 0 || ip.FragOffset != 0 {
			return f.join(ip, from, at)
		}
		return from, ip.Payload, ""
	case *layers.IPv6:
		from, _ = netip.AddrFromSlice(ip.SrcIP)
		if packet.Layer(layers.LayerTypeIPv6Fragment) != nil {
			f.lost++
			return from, nil, Incomplete
		}
		u, ok := packet.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok {
			return from, nil, NotUDP
		}
		return from, append(u.Contents[:len(u.Contents):len(u.Contents)], u.Payload...), ""
	}
	return from, nil, NotUDP
}

// join adds a fragment. It returns the datagram if the fragment completes it.
func (f *fragments) join(ip *layers.IPv4, from netip.Addr, at time.Time) (netip.Addr, []byte, string) {
	to, _ := netip.AddrFromSlice(ip.DstIP.To4())
	key := fragmentKey{from, to, ip.Id, ip.Protocol}
	f.expire(at)
	out, err := f.four.DefragIPv4WithTimestamp(ip, at)
	switch {
	case err != nil: // the defragmenter has dropped the other fragments, too
		f.lost += f.wait[key].n
		delete(f.wait, key)
		return from, nil, Malformed
	case out == nil:
		f.wait[key] = waiting{f.wait[key].n + 1, at}
		return from, nil, Incomplete
	}
	f.whole += f.wait[key].n
	delete(f.wait, key)
	return from, out.Payload, ""
}

// expire gives up datagrams that have waited too long or, if too many are waiting, all of them.
func (f *fragments) expire(now time.Time) {
	if len(f.wait) == 0 {
		return
	}
	before := now.Add(-fragmentTime)
	if len(f.wait) >= maxWaiting {
		before = now.Add(time.Hour)
		f.four = ip4defrag.NewIPv4Defragmenter()
	} else if len(f.wait)%64 != 0 {
		return // not for every fragment
	} else {
		f.four.DiscardOlderThan(before)
	}
	for key, w := range f.wait {
		if w.last.Before(before) {
			f.lost += w.n
			delete(f.wait, key)
		}
	}
}
