package status

import (
	"math"
	"testing"
)

// TestPaths: a line ends at the right edge, and a gap interrupts it; an area is closed along the lower edge.
func TestPaths(t *testing.T) {
	path, area := paths([]float64{0, 10, math.NaN(), 5}, 2, 10)
	if want := "M354.0 63.0L356.0 2.0M360.0 32.5"; path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if want := "M354.0 63.0L356.0 2.0L356.0 64L354.0 64ZM360.0 32.5L360.0 64L360.0 64Z"; area != want {
		t.Errorf("area %s, want %s", area, want)
	}
}

// TestEdge: the upper edge of a chart is a round number that is not below its values.
func TestEdge(t *testing.T) {
	for _, c := range []struct{ v, base, want float64 }{
		{0, 1000, 1}, {1, 1000, 1}, {7, 1000, 8}, {950, 1000, 1000}, {1001, 1000, 1500}, {984e3, 1000, 1e6}, {1 << 20, 1024, 1 << 20}, {15.2 * (1 << 20), 1024, 20 << 20},
	} {
		if got := edge(c.v, c.base); got != c.want || got < c.v {
			t.Errorf("edge(%v, %v) = %v, want %v", c.v, c.base, got, c.want)
		}
	}
}

// TestWords: numbers as people read them.
func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		count(uint64(0)): "0", count(uint64(1234567)): "1,234,567", count(uint64(math.MaxUint64)): "18,446,744,073,709,551,615", count(-1234): "-1,234",
		short(0): "0", short(0.01): "<0.1", short(9.96): "10", short(999.6): "1k", short(12345): "12.3k", short(999_999): "1M", short(math.NaN()): unknown,
		length(0): "0s", length(59.6): "1m", length(125): "2m 5s", length(3600): "1h", length(86400 * 3): "3d", length(1e12): "over a year",
		size(1536): "1.5 KiB", size(math.Inf(1)): unknown, quick(0.0042): "4 ms", records(1): "1 record", opt(short, nil): unknown,
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
