package ingest

import (
	"github.com/penstock-go/penstock/spool/segment"
)

// receiver reads bursts of datagrams from one bound socket. receive, detach and counts may run at the same time as each
// other, but only one call of each.
type receiver interface {
	// receive returns the datagrams that are queued. If there are none it waits for the first, or, if wait is false,
	// returns an empty burst. The burst is valid until the next call.
	receive(wait bool) (burst, error)
	// counts returns the kernel's counters of the socket; false if the kernel refuses them.
	counts() (socketCounts, bool)
	// detach makes the kernel stop delivering datagrams to the socket; what is queued stays.
	detach() error
}

// socketCounts are the kernel's counters of a socket.
type socketCounts struct {
	queued uint32 // memory that the datagrams in its queue use
	drops  uint32 // datagrams that it has dropped
}

const (
	// leastCharge is less than what the kernel adds to queued for any datagram or aggregate of datagrams: its own
	// structures (sk_buff, skb_shared_info) alone are larger.
	leastCharge = 512
	// mostAggregated is how many datagrams a GRO aggregate has at most: the kernel's UDP_MAX_SEGMENTS, which bounds the
	// aggregates of a sender on the same host. Aggregates from the network have at most 64.
	mostAggregated = 128
)

// burst is the result of one receive.
type burst struct {
	recs      []segment.Record
	bytes     uint64        // of recs
	truncated segment.Tally // datagrams over the maximum, with their true length
	last      int64         // when the last datagram arrived, even if truncated; 0 if the system does not say

	proxyMalformed, proxyIgnored uint64 // see Stats
}

// datagrams is what a receiver must know to make records of datagrams.
type datagrams struct {
	max    int
	behind proxies
	attrs  *datagramAttrs
}

// add appends the record of one datagram to the burst, unless it is longer than the maximum.
func (b *burst) add(r segment.Record, d *datagrams) {
	whole, size := r.Data, len(r.Data)
	if len(d.behind) > 0 {
		var v verdict
		switch r.Data, r.Src, v = d.behind.strip(r.Data, r.Src); v {
		case badHeader:
			b.proxyMalformed++
		case foreignHeader:
			b.proxyIgnored++
		}
	}
	if len(r.Data) > d.max {
		b.truncated.Records++
		b.truncated.Bytes += uint64(size)
		return
	}
	r.Attrs = d.attrs.of(whole[:size-len(r.Data)])
	b.recs = append(b.recs, r)
	b.bytes += uint64(len(r.Data))
}

// slotSize is how much of a datagram is read, so that a payload of MaxRecord bytes fits with its PROXY header.
func slotSize(o *UDPOptions) int {
	if len(o.ProxyFrom) > 0 {
		return min(o.MaxRecord+maxV2, maxDatagram)
	}
	return o.MaxRecord
}

func (b *burst) empty() bool { return len(b.recs) == 0 && b.truncated.Records == 0 }
