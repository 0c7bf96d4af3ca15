package compress

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const benchBytes = 16 << 20

func BenchmarkWrite(b *testing.B) {
	data := firewall(benchBytes)
	for _, name := range Names() {
		c, _ := ByName(name)
		i := c.Info()
		levels := []int{i.DefaultLevel}
		switch name {
		case "zstd":
			levels = []int{1, 3, 6}
		case "gzip":
			levels = []int{1, 5, 6}
		case "s2":
			levels = []int{1, 2}
		}
		for _, level := range levels {
			b.Run(fmt.Sprintf("%s:%d", name, level), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(benchBytes)
				var n counter
				for b.Loop() {
					n = 0
					w, err := c.NewWriter(&n, level)
					if err != nil {
						b.Fatal(err)
					}
					writeSteps(b, w, data)
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(benchBytes/float64(n), "ratio")
			})
		}
	}
}

// BenchmarkBareZstd is the yardstick of BenchmarkWrite: the library's stream encoder, reused, with its own window and
// with ours.
func BenchmarkBareZstd(b *testing.B) {
	data := firewall(benchBytes)
	for level := range 2 {
		for _, window := range []int{0, zstdWindow} {
			opts := []zstd.EOption{zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.EncoderLevel(level + 1))}
			if window > 0 {
				opts = append(opts, zstd.WithWindowSize(window))
			}
			b.Run(fmt.Sprintf("%s/window=%d", zstd.EncoderLevel(level+1), window), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(benchBytes)
				var n counter
				w, err := zstd.NewWriter(&n, opts...)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					n = 0
					w.Reset(&n)
					writeSteps(b, w, data)
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(benchBytes/float64(n), "ratio")
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	data := firewall(benchBytes)
	for _, name := range Names() {
		c, _ := ByName(name)
		packed := pack(b, c, 0, data, 0)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(benchBytes)
			for b.Loop() {
				r, err := c.NewReader(bytes.NewReader(packed))
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); err != nil || n != benchBytes {
					b.Fatal(n, err)
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// writeSteps writes as package ship does, in pieces of 64 KiB.
func writeSteps(b *testing.B, w io.Writer, data []byte) {
	for len(data) > 0 {
		n := min(len(data), 64<<10)
		if _, err := w.Write(data[:n]); err != nil {
			b.Fatal(err)
		}
		data = data[n:]
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
