package sftpship

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

func TestRequestsInFlight(t *testing.T) {
	for _, c := range []struct {
		trips  []time.Duration
		packet int
		want   int
	}{
		{nil, packetSizeOpenSSH, 64}, // nothing is known
		{[]time.Duration{0}, packetSizeOpenSSH, 2},
		{[]time.Duration{0}, packetSize, 16},
		{[]time.Duration{time.Millisecond}, packetSize, 20},
		{[]time.Duration{20 * time.Millisecond}, packetSizeOpenSSH, 12},
		{[]time.Duration{20 * time.Millisecond}, packetSize, 64},
		{[]time.Duration{math.MaxInt64}, packetSizeOpenSSH, 64},
		// The least counts, until it is older than three others.
		{[]time.Duration{time.Second, 0, time.Second, time.Second}, packetSizeOpenSSH, 2},
		{[]time.Duration{time.Second, 0, time.Second, time.Second, time.Second, time.Second}, packetSizeOpenSSH, 64},
	} {
		var trip roundTrip
		for _, d := range c.trips {
			trip.add(d)
		}
		if got := trip.requests(c.packet); got != c.want {
			t.Errorf("after %v, packets of %d: %d requests, want %d", c.trips, c.packet, got, c.want)
		}
	}
}

// TestNewConnectionKnowsItsLine: an operation that writes before anything was measured fills the line too. A proxy close to
// this host accepts connections at once, so that only an answer of the server shows the round trip.
func TestNewConnectionKnowsItsLine(t *testing.T) {
	t.Parallel()
	const rtt = 20 * time.Millisecond
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	p, url := startProxy(t, s.URL("d"))
	p.SetDelay(rtt / 2)
	h := open(t, url, nil)
	err := h.do(bounded(t), "look", func(t *turn) error {
		trip := &t.s.trip
		if trip.next == 0 || trip.last[0] < rtt {
			return fmt.Errorf("measured %v in %d answers over a line of %v", trip.last[0], trip.next, rtt)
		}
		if got := trip.requests(packetSizeOpenSSH); got < 12 {
			return fmt.Errorf("%d requests, want at least 12", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
