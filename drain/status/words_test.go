package status

import (
	"testing"
	"time"
)

// TestAgo: an event after the time of the snapshot, while it was being taken, was "now".
func TestAgo(t *testing.T) {
	now := time.Now()
	for since, want := range map[time.Duration]string{
		-300 * time.Millisecond: "0s ago", 0: "0s ago", 90 * time.Second: "1m 30s ago",
	} {
		at := now.Add(-since)
		if got := ago(now, &at); got != want {
			t.Errorf("%v: %q, want %q", since, got, want)
		}
	}
	if got := ago(now, nil); got != "never" {
		t.Error(got)
	}
}
