package compress

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"
)

// fuzzReader feeds a reader arbitrary bytes: it must end, within bounds, either with an error that wraps ErrCorrupt or
// with content that survives another round trip.
func fuzzReader(f *testing.F, c Codec) {
	for _, data := range [][]byte{nil, []byte("x"), firewall(900), noise(200)} {
		packed := pack(f, c, 0, data, 0)
		f.Add(packed)
		f.Add(append(bytes.Clone(packed), packed...))
		f.Add(packed[:len(packed)*2/3])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const most = 16 << 20
		r, err := c.NewReader(bytes.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.LimitReader(r, most))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v does not wrap ErrCorrupt", err)
			}
			return
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if again, err := unpack(t, c, bytes.NewReader(pack(t, c, 0, got, 0))); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%d bytes, then %d, %v", len(got), len(again), err)
		}
	})
}

func FuzzZstd(f *testing.F) { fuzzReader(f, zstdCodec) }
func FuzzGzip(f *testing.F) { fuzzReader(f, gzipCodec) }
func FuzzLZ4(f *testing.F)  { fuzzReader(f, lz4Codec) }
func FuzzS2(f *testing.F)   { fuzzReader(f, s2Codec) }

// FuzzSeekable: headers from elsewhere may say what they like.
func FuzzSeekable(f *testing.F) {
	for _, n := range []int{0, 1, 900} {
		f.Add(pack(f, zstdCodec, 0, firewall(n), 0), int64(n/2))
	}
	for file := range withTable {
		packed, err := hex.DecodeString(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, int64(0))
	}
	f.Fuzz(func(t *testing.T, in []byte, off int64) {
		s, err := NewSeekable(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			return
		}
		if n, err := s.ReadAt(make([]byte, 1000), off); n < 1000 && err == nil {
			t.Fatalf("short read of %d without an error", n)
		}
		// Where the strict reader finds nothing wrong, both see the same content.
		if want, err := unpack(t, zstdCodec, bytes.NewReader(in)); err == nil {
			if s.Size() != int64(len(want)) {
				t.Fatalf("size %d, content %d", s.Size(), len(want))
			}
			got := make([]byte, len(want))
			if n, err := s.ReadAt(got, 0); n != len(want) || !bytes.Equal(got, want) {
				t.Fatalf("%d of %d bytes, %v", n, len(want), err)
			}
		}
	})
}
