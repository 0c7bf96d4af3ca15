// Package growth says for which numbers of things benchmarks measure how cost grows. Such a benchmark has a part for each, named
// thing=number, so that internal/bench/run can draw it.
package growth

import (
	"os"
	"strconv"
	"testing"
)

// Numbers returns the powers of ten from least to most, but none above PENSTOCK_GROWTH, by default 10,000.
func Numbers(b *testing.B, least, most int) (all []int) {
	b.Helper()
	limit := 10_000
	if s := os.Getenv("PENSTOCK_GROWTH"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			b.Fatalf("PENSTOCK_GROWTH=%q is no number of things", s)
		}
	}
	for n := least; n <= min(most, max(least, limit)); n *= 10 {
		all = append(all, n)
	}
	return all
}
