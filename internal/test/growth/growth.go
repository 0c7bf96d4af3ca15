// Package growth says for which numbers of things benchmarks measure how cost grows. Such a benchmark has a part for each, named
// thing=number, so that internal/bench/run can draw it.
package growth

import (
	"os"
	"strconv"
	"testing"
)

// Each runs a part of a benchmark for each power of ten from least to most, but for none above PENSTOCK_GROWTH, by default 10,000.
func Each(b *testing.B, thing string, least, most int, part func(b *testing.B, n int)) {
	b.Helper()
	limit := 10_000
	if s := os.Getenv("PENSTOCK_GROWTH"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			b.Fatalf("PENSTOCK_GROWTH=%q is no number of things", s)
		}
	}
	for n := least; n <= min(most, max(least, limit)); n *= 10 {
		b.Run(thing+"="+strconv.Itoa(n), func(b *testing.B) { part(b, n) })
	}
}
