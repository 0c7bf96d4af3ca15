package format

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

const benchRecords, benchSize = 60_000, 512

// BenchmarkEncode measures staging a segment without the disk: MB/s of payloads of 512 B of text.
func BenchmarkEncode(b *testing.B) {
	s := makeSegment(b, textRecords(benchRecords, benchSize), 1<<30)
	for _, format := range Names() {
		for _, codec := range []string{"none", "zstd", "gzip", "lz4", "s2"} {
			b.Run(format+"/"+codec, func(b *testing.B) {
				enc, err := NewEncoder(object.Encoding{Format: format, Codec: codec})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetBytes(benchRecords * benchSize)
				for b.Loop() {
					if _, err := enc.Encode(b.Context(), io.Discard, s.open(b), nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkBareZstd is the yardstick: the library's encoder alone, on the ndjson bytes that BenchmarkEncode makes in
// ndjson/zstd, its MB/s in the same payloads.
func BenchmarkBareZstd(b *testing.B) {
	s := makeSegment(b, textRecords(benchRecords, benchSize), 1<<30)
	_, raw := encodeSegment(b, s, object.Encoding{Codec: "none"})
	w, err := zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(benchRecords * benchSize)
	for b.Loop() {
		w.Reset(io.Discard)
		if _, err := w.Write(raw); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendNDJSON measures the format alone, by kind of payload.
func BenchmarkAppendNDJSON(b *testing.B) {
	fill := func(unit string) []byte {
		var p []byte
		for len(p) < benchSize {
			p = append(p, unit...)
		}
		return p[:benchSize]
	}
	for name, data := range map[string][]byte{
		"ascii": fill("a=b "), "quotes": fill(`key="value" `), "utf-8": fill("schön "), "binary": fill("\xff"), "control": fill("\x01"),
	} {
		b.Run(name, func(b *testing.B) {
			rec := segment.Record{Time: 1_795_000_000_123_456_789, Src: textRecords(1, 300)[0].Src, Data: data}
			f := newNDJSONWriter(testSpoolID)
			var buf []byte
			var err error
			b.ReportAllocs()
			b.SetBytes(benchSize)
			for b.Loop() {
				rec.Time += 9000
				if buf, err = f.Record(buf[:0], 123_456_789, &rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadRecords measures the strict readers.
func BenchmarkReadRecords(b *testing.B) {
	s := makeSegment(b, textRecords(benchRecords, benchSize), 1<<30)
	for _, format := range Names() {
		_, raw := encodeSegment(b, s, object.Encoding{Format: format, Codec: "none"})
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(benchRecords * benchSize)
			for b.Loop() {
				r, err := NewReader(format, bytes.NewReader(raw))
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for ; err == nil; n++ {
					_, _, err = r.Next()
				}
				if err != io.EOF || n != benchRecords+1 {
					b.Fatal(fmt.Errorf("%d records: %w", n, err))
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
