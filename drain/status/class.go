package status

import (
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// Listener is where records come in. Its counts are of this process.
type Listener struct {
	Network  string         `json:"network"` // udp, tcp, unixgram
	Addr     string         `json:"addr"`
	Received segment.Tally  `json:"received"`
	Lost     segment.Losses `json:"lost"`
	InHand   segment.Tally  `json:"in_hand"`
	Rate     Rate           `json:"rate"`
	// LastRecord is when the newest record was read; null before the first.
	LastRecord *time.Time `json:"last_record"`
	// Err is why the listener cannot receive at present.
	Err string `json:"error,omitempty"`
	// Queue is how much waits in the sockets, ReceiveBuffer how much fits there (0: unknown), in bytes as the kernel
	// charges them.
	Queue         int64 `json:"queue_bytes"`
	ReceiveBuffer int64 `json:"receive_buffer_bytes"`
	// DropsKnown tells whether Lost has the kernel's drops.
	DropsKnown bool        `json:"kernel_drops_known"`
	Sockets    []Socket    `json:"sockets"` // of a listener for datagrams
	Stream     Stream      `json:"stream"`
	Allowances []Allowance `json:"allowances"`
	Panics     uint64      `json:"panics"`
	// ProxyMalformed and ProxyIgnored: see ingest.Stats.
	ProxyMalformed uint64 `json:"proxy_malformed"`
	ProxyIgnored   uint64 `json:"proxy_ignored"`
	// CertificateEnds is when the TLS certificate that was used last expires; null without one.
	CertificateEnds *time.Time `json:"certificate_ends"`
}

// Socket is one socket of a listener for datagrams, in bytes as the kernel charges them.
type Socket struct {
	Queue         int64  `json:"queue_bytes"`
	ReceiveBuffer int64  `json:"receive_buffer_bytes"`
	Requested     int64  `json:"requested_buffer_bytes"`
	Drops         uint64 `json:"kernel_drops"`
}

// Stream has the counts of a listener with connections.
type Stream struct {
	Connections int    `json:"connections"`
	Refused     uint64 `json:"refused"`
	Resets      uint64 `json:"resets"`
}

// Allowance counts the packets that an EC2 instance's network interface queued or dropped: see ingest.Allowance.
type Allowance struct {
	Interface   string `json:"interface"`
	BandwidthIn uint64 `json:"bandwidth_in"`
	PacketRate  uint64 `json:"packet_rate"`
	Conntrack   uint64 `json:"conntrack"`
}

// Destination is a destination of a class.
type Destination struct {
	Destination string     `json:"destination"`
	State       ship.State `json:"state"`
	// Err is the last failure, Cure what to do about it; both are empty if nothing fails. Since is when the first
	// operation failed, NextAttempt when the first of them is tried again.
	Err         string     `json:"error,omitempty"`
	Cure        string     `json:"cure,omitempty"`
	Since       *time.Time `json:"since"`
	NextAttempt *time.Time `json:"next_attempt"`
	// LastSuccess is when it last confirmed something to this process; null if it has not.
	LastSuccess *time.Time `json:"last_success"`
	// Failures counts the failed operations of this process by kind; it omits kinds that never occurred.
	Failures map[ship.Failure]uint64 `json:"failures"`
	// Delivered counts the records that its chain covers, Pending those that it does not cover yet.
	Delivered       segment.Tally `json:"delivered"`
	Pending         segment.Tally `json:"pending"`
	PendingSegments int           `json:"pending_segments"`
	// Lag is the age of the oldest segment that is pending, 0 if nothing is pending, null if it is unknown.
	Lag *float64 `json:"lag_seconds"`
	// BytesPerSecond is the speed of delivery, in payload, over the last half minute; SentBytes is how many stored bytes it has confirmed
	// to this process.
	BytesPerSecond float64 `json:"bytes_per_second"`
	SentBytes      int64   `json:"sent_bytes"`
	// UntilEmpty is the time until nothing is pending if records arrive and are delivered at the rates of the last
	// minutes; 0 if nothing is pending, null if the backlog does not shrink.
	UntilEmpty *float64 `json:"seconds_until_empty"`
	Verified   int64    `json:"verified"`
	Chain      Chain    `json:"chain"`
	Put        Latency  `json:"put"`
	Verify     Latency  `json:"verify"`
	Panics     uint64   `json:"panics"`
}

// Latency is how long something takes.
type Latency struct {
	Count uint64  `json:"count"`
	Sum   float64 `json:"sum_seconds"`
	// P50 and P99 are the median and the 99th percentile. They are upper bounds of histogram buckets; null before the first
	// event.
	P50 *float64 `json:"p50_seconds"`
	P99 *float64 `json:"p99_seconds"`
	// Buckets is the whole histogram.
	Buckets spool.Latency `json:"-"`
}

func newLatency(l spool.Latency) Latency {
	out := Latency{Sum: l.Sum.Seconds(), Buckets: l}
	for _, n := range l.Counts {
		out.Count += n
	}
	out.P50, out.P99 = quantile(l, out.Count, 0.5), quantile(l, out.Count, 0.99)
	return out
}

// quantile returns the upper bound of the bucket within which a share of all counts lies. Above the last bound it is
// unknown.
func quantile(l spool.Latency, count uint64, share float64) *float64 {
	seen := 0.0
	for i, bound := range l.Bounds {
		if seen += float64(l.Counts[i]); count > 0 && seen >= share*float64(count) {
			return seconds(bound)
		}
	}
	return nil
}

// Chain is the position of a destination's chain of manifests.
type Chain struct {
	Epoch   uint32 `json:"epoch"`
	Next    uint64 `json:"next"`    // number of the next manifest
	Hash    string `json:"hash"`    // SHA-256 of the last one, empty before the first
	Segment uint64 `json:"segment"` // last segment that it covers
	Through uint64 `json:"through"` // last sequence number that it covers
	Joined  uint64 `json:"joined"`  // first sequence number that the destination is owed: above 1 if it was added later than the spool
	Final   bool   `json:"final"`
}

// Senders are the hosts from which the listeners of a class receive the most.
type Senders struct {
	Top    []Sender `json:"top"`    // by the records that certainly came from them, the most first
	Silent []Sender `json:"silent"` // established ones that have stopped, the longest silence first
}

// Sender is a host that has sent records to this process.
type Sender struct {
	Sender     string        `json:"sender"`
	Received   segment.Tally `json:"received"`       // the certain ones, apart from the estimate of ingest.Sender
	Over       uint64        `json:"over,omitempty"` // further records, from this address or from forgotten ones
	LastRecord time.Time     `json:"last_record"`
}
