package units

import (
	"math"
	"testing"
)

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "-1 B", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 40 << 20: "40.0 MiB", 3 << 39: "1.5 TiB", math.MaxInt64: "8.0 EiB",
	} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestRecords(t *testing.T) {
	if got := Records(1200, 3<<19); got != "1200 records, 1.5 MiB" {
		t.Error(got)
	}
	if got := Records(0, 0); got != "nothing" {
		t.Error(got)
	}
}
