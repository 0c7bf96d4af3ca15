package sftpship

import (
	"math"
	"testing"
	"time"
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

// TestConnectedElsewhere: a proxy close to this host accepts connections at once; only the first answer of the server shows
// the round trip.
func TestConnectedElsewhere(t *testing.T) {
	var trip roundTrip
	trip.connected(0)
	if got := trip.requests(packetSizeOpenSSH); got != 2 {
		t.Errorf("%d requests before the first answer, want 2", got)
	}
	trip.add(time.Second)
	if got := trip.requests(packetSizeOpenSSH); got != 64 {
		t.Errorf("%d requests after it, want 64", got)
	}
}
