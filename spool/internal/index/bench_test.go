package index

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkIndexOpen opens, checks and loads the index of 100,000 segments.
func BenchmarkIndexOpen(b *testing.B) {
	open, _ := realIndex(b)
	ix, _ := mustOpen(b, open)
	const n = 100_000
	for at := 0; at < n; at += 10_000 {
		puts := make([]Entry, 10_000)
		for i := range puts {
			puts[i] = Entry{fmt.Sprintf("%016x", at+i), []byte(strings.Repeat("v", 300))}
		}
		mustApply(b, ix, puts)
	}
	mustClose(b, ix)
	b.ReportAllocs()
	for b.Loop() {
		ix, rebuild := mustOpen(b, open)
		got := 0
		if err := ix.Load(func(string, []byte) error { got++; return nil }); err != nil || rebuild || got != n {
			b.Fatal(err, rebuild, got)
		}
		mustClose(b, ix)
	}
}

// BenchmarkIndexApply is what a seal costs the index.
func BenchmarkIndexApply(b *testing.B) {
	open, _ := realIndex(b)
	ix, _ := mustOpen(b, open)
	value := []byte(strings.Repeat("v", 300))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var deletes []string
		if i >= 100 {
			deletes = []string{fmt.Sprintf("%016x", i-100)}
		}
		mustApply(b, ix, []Entry{{fmt.Sprintf("%016x", i), value}}, deletes...)
	}
}
