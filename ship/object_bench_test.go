package ship

import "testing"

// BenchmarkDigest measures what reading an object back costs.
func BenchmarkDigest(b *testing.B) {
	p := make([]byte, 32<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	d := NewDigest()
	for b.Loop() {
		d.Write(p)
	}
}
