package ingest

import (
	"slices"
	"sync"
	"time"
)

// pollEvery is how often the drop counters of idle sockets, and the counters of the host, are read.
const pollEvery = time.Second

// Allowance counts the packets that an EC2 instance's network interface queued or dropped before the kernel saw them,
// since the listener was made, because the instance exceeded what its type allows. The interface does not tell how many
// of them were lost, or which were records, so they are not part of the account. If a counter has grown, records may have
// been lost that no account contains, and a larger instance type is needed. The counters are those of the ENA driver from
// version 2.2.10 on (docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-network-performance-ena.html).
type Allowance struct {
	Interface   string
	BandwidthIn uint64 // bw_in_allowance_exceeded: inbound bandwidth
	PacketRate  uint64 // pps_allowance_exceeded: packets per second, both ways
	Conntrack   uint64 // conntrack_allowance_exceeded: flows that the security groups track
}

// allowanceOf picks the counters out of a driver's statistics (ethtool -S); false if they contain none of the counters.
func allowanceOf(name string, stats []string, values []uint64) (a Allowance, ok bool) {
	a.Interface = name
	for i := range min(len(stats), len(values)) {
		switch stats[i] {
		case "bw_in_allowance_exceeded":
			a.BandwidthIn, ok = values[i], true
		case "pps_allowance_exceeded":
			a.PacketRate, ok = values[i], true
		case "conntrack_allowance_exceeded":
			a.Conntrack, ok = values[i], true
		}
	}
	return a, ok
}

// since returns how much the counters have grown since an earlier time. A counter that is lower than then was reset with
// its driver.
func since(now, earlier []Allowance) []Allowance {
	if len(now) == 0 {
		return nil
	}
	now = slices.Clone(now)
	for i := range now {
		for _, e := range earlier {
			if a := &now[i]; a.Interface == e.Interface {
				a.BandwidthIn = growth(a.BandwidthIn, e.BandwidthIn)
				a.PacketRate = growth(a.PacketRate, e.PacketRate)
				a.Conntrack = growth(a.Conntrack, e.Conntrack)
			}
		}
	}
	return now
}

func growth(now, earlier uint64) uint64 {
	if now < earlier {
		return now
	}
	return now - earlier
}

// allowances reads the counters of all interfaces, once for all listeners of the process, since each reading is a command
// to the device.
type allowances struct {
	read func() []Allowance

	mu   sync.Mutex
	at   time.Time
	last []Allowance
}

// host are the interfaces of this machine.
var host = &allowances{read: newNICs().read}

// now returns counters that are at most half a second old.
func (h *allowances) now() []Allowance {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.at.IsZero() || now.Sub(h.at) >= pollEvery/2 {
		h.last, h.at = h.read(), now
	}
	return h.last
}

// watch warns of counters that have moved since the last call, and returns them.
func (h *allowances) watch(last []Allowance, log *limiter) []Allowance {
	now := h.now()
	for _, a := range since(now, last) {
		if a.BandwidthIn+a.PacketRate+a.Conntrack > 0 {
			log.warn("ingest: this instance exceeded its network allowance; packets may have been lost before the kernel saw them",
				"interface", a.Interface, "bandwidth_in", a.BandwidthIn, "packet_rate", a.PacketRate, "conntrack", a.Conntrack)
		}
	}
	return now
}
