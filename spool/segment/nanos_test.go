package segment

import (
	"math"
	"testing"
	"time"
)

// TestNanos: no time wraps, and those within are exact.
func TestNanos(t *testing.T) {
	for in, want := range map[time.Time]int64{
		time.Unix(0, 0):  0,
		time.Unix(1, 5):  1e9 + 5,
		time.Unix(-1, 5): -1e9 + 5,
		time.Date(2262, 4, 11, 23, 47, 15, 1, time.UTC): time.Date(2262, 4, 11, 23, 47, 15, 1, time.UTC).UnixNano(),
		time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC):    math.MaxInt64,
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC):     math.MaxInt64,
		time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC):     math.MaxInt64,
		time.Unix(math.MaxInt64, 0):                     math.MaxInt64,
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC):        math.MinInt64,
		{}:                                              math.MinInt64,
		time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC):     time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(),
	} {
		if got := Nanos(in); got != want {
			t.Errorf("%v: %d, want %d", in, got, want)
		}
	}
}
