package compress

import (
	"bytes"
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
