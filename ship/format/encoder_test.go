package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// arbitraryRecords makes records of any bytes, times and sources; with lines, newlines are only at the end.
func arbitraryRecords(seed uint64, n int, lines bool) []segment.Record {
	rng := rand.New(rand.NewPCG(seed, 7))
	alphabets := []string{"abc ", "\"\\\x00\x1f\n", "aü雪🚰", "\x80\xff\xc3a"}
	all := make([]segment.Record, n)
	for i := range all {
		alphabet := alphabets[rng.IntN(len(alphabets))]
		data := make([]byte, rng.IntN(60)*rng.IntN(60))
		for j := range data {
			data[j] = alphabet[rng.IntN(len(alphabet))]
		}
		if alphabet == alphabets[2] {
			data = bytes.ToValidUTF8(data, nil)
		}
		if lines {
			data = bytes.ReplaceAll(data, []byte("\n"), nil)
		}
		all[i] = segment.Record{Time: rng.Int64() - rng.Int64(), Data: data}
		switch rng.IntN(3) {
		case 0:
			all[i].Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(4))}), uint16(rng.IntN(2)))
		case 1:
			all[i].Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(rng.IntN(256))}), uint16(rng.IntN(1<<16)))
		}
	}
	return all
}

// TestEncodeDecode: every payload comes back byte for byte, through every format and codec.
func TestEncodeDecode(t *testing.T) {
	for _, format := range Names() {
		for _, codec := range compress.Names() {
			t.Run(format+"/"+codec, func(t *testing.T) {
				for seed := range uint64(4) {
					records := arbitraryRecords(seed, 150, format == Lines)
					for i, sets := 0, someAttrs(t); i < len(records); i++ {
						records[i].Attrs = sets[i/(1+int(seed))%len(sets)]
					}
					s := makeSegment(t, records, 1+int(seed)*20)
					out, raw := encodeSegment(t, s, object.Encoding{Format: format, Codec: codec})
					want := s.records(t)
					if f, err := ByName(format); err != nil || out.RawBytes > f.MaxRaw(out.Records, payloads(want)) {
						t.Errorf("%d bytes of %d records of %d bytes, %v", out.RawBytes, out.Records, payloads(want), err)
					}
					if out.Records != uint64(len(want)) || len(out.Gaps) > 0 || out.Format != format || out.Codec != codec {
						t.Errorf("%+v", out)
					}
					got, err := readRecords(t, format, bytes.NewReader(raw))
					if err != nil {
						t.Fatal(err)
					}
					if format == Lines {
						for i := range want {
							want[i] = numbered{rec: segment.Record{Data: want[i].rec.Data}}
						}
					}
					sameRecords(t, got, want)
				}
			})
		}
	}
}

func payloads(all []numbered) (n uint64) {
	for _, x := range all {
		n += uint64(len(x.rec.Data))
	}
	return n
}

// TestMaxRawAttrs: records that consist of attributes only do not exceed MaxRaw.
func TestMaxRawAttrs(t *testing.T) {
	worst := someAttrs(t)[4]
	many := map[string]string{}
	for i := range segment.MaxAttrs {
		many[fmt.Sprint("k", i)] = ""
	}
	for _, a := range []*segment.Attrs{worst, attrs(t, many)} {
		records := make([]segment.Record, 500)
		for i := range records {
			records[i] = segment.Record{Time: math.MinInt64, Src: netip.MustParseAddrPort("[2001:db8:1111:1111:1111:1111:1111:1111]:65535"), Attrs: a}
		}
		s := makeSegment(t, records, 1)
		for _, format := range Names() {
			out, _ := encodeSegment(t, s, object.Encoding{Format: format, Codec: "none"})
			if f, err := ByName(format); err != nil || out.RawBytes > f.MaxRaw(500, 0) {
				t.Errorf("%s: %d bytes, %v", format, out.RawBytes, err)
			}
		}
	}
}

func TestEncodedNames(t *testing.T) {
	s := makeSegment(t, textRecords(10, 100), 4)
	for _, tc := range []struct{ format, codec, ext, contentType string }{
		{"", "", ".ndjson.zst", "application/zstd"},
		{NDJSON, "gzip", ".ndjson.gz", "application/gzip"},
		{NDJSON, "none", ".ndjson", "application/x-ndjson"},
		{Lines, "lz4", ".log.lz4", "application/x-lz4"},
		{Lines, "none", ".log", "text/plain"},
		{Native, "s2", ".seg.s2", "application/x-s2"},
		{Native, "none", ".seg", "application/octet-stream"},
	} {
		out, _ := encodeSegment(t, s, object.Encoding{Format: tc.format, Codec: tc.codec})
		if out.Ext != tc.ext || out.ContentType != tc.contentType || out.ContentEncoding != "" {
			t.Errorf("%+v: %q %q %q", tc, out.Ext, out.ContentType, out.ContentEncoding)
		}
		if out.Codec != "none" && out.Level == 0 {
			t.Errorf("%+v: level 0 is recorded: another build may mean another by it", tc)
		}
		if !out.MinTime.Equal(out.MinTime.UTC()) || out.MinTime.After(out.MaxTime) || out.MinTime.UnixNano() != s.records(t)[0].rec.Time {
			t.Errorf("%+v: times %v to %v", tc, out.MinTime, out.MaxTime)
		}
	}
}

func TestNewEncoderRefuses(t *testing.T) {
	_, err := NewEncoder(object.Encoding{Format: "csv", Codec: "rar", Level: 3})
	for _, hint := range []string{"csv", "ndjson, lines, native", "rar", "zstd, gzip"} {
		if err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v does not say %q", err, hint)
		}
	}
	if _, err := NewEncoder(object.Encoding{Codec: "gzip", Level: 12}); err == nil || !strings.Contains(err.Error(), "1 to 9") {
		t.Errorf("level 12 of gzip: %v", err)
	}
	if _, err := NewReader("csv", nil); err == nil || !strings.Contains(err.Error(), "ndjson, lines, native") {
		t.Errorf("reader for csv: %v", err)
	}
}

// TestLinesFallBack: a segment that lines cannot express is written as ndjson, and its encoding says so.
func TestLinesFallBack(t *testing.T) {
	for _, tc := range []struct {
		data   string
		format string
		want   string
	}{
		{"a\n", Lines, "x\na\ny\n"},
		{"", Lines, "x\n\ny\n"},
		{"\n", Lines, "x\n\ny\n"},
		{"\r\n", Lines, "x\n\r\ny\n"},
		{"\xff", Lines, "x\n\xff\ny\n"},
		{"a\nb", NDJSON, ""},
		{"\na", NDJSON, ""},
		{"\n\n", NDJSON, ""},
		{"a\n\n", NDJSON, ""},
	} {
		s := makeSegment(t, []segment.Record{{Data: []byte("x")}, {Data: []byte(tc.data)}, {Data: []byte("y")}}, 2)
		out, raw := encodeSegment(t, s, object.Encoding{Format: Lines, Codec: "none"})
		if out.Format != tc.format || out.Ext != map[string]string{Lines: ".log", NDJSON: ".ndjson"}[tc.format] {
			t.Errorf("%q: format %s, %s", tc.data, out.Format, out.Ext)
		}
		if tc.format == Lines && string(raw) != tc.want {
			t.Errorf("%q: %q", tc.data, raw)
		}
		if tc.format == NDJSON {
			got, err := readRecords(t, NDJSON, bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			sameRecords(t, got, s.records(t))
		}
	}
	// A stage record that says lines was made when the other newline could not be read: nothing else may be stored under its
	// key.
	s := makeSegment(t, []segment.Record{{Data: []byte("a\nb")}}, 1)
	enc, err := NewEncoder(object.Encoding{})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := enc.Encode(t.Context(), io.Discard, s.open(t), &object.Encoding{Format: Lines, Codec: "gzip", Level: 1}); err == nil {
		t.Errorf("recorded settings were not followed: %+v", out)
	}
}

// TestDamage: damaged stretches become gaps, and the rest is encoded as from a sound segment.
func TestDamage(t *testing.T) {
	for _, blocks := range [][]int{{0}, {2}, {9}, {1, 2}, {0, 1, 5, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		for _, format := range Names() {
			s := makeSegment(t, textRecords(95, 200), 10) // ten blocks, the last of five records
			var gaps []segment.Range
			for _, b := range blocks {
				s.damage(b)
				first := uint64(segmentFirst + 10*b)
				last := min(first+9, segmentFirst+94)
				if n := len(gaps); n > 0 && gaps[n-1].Last+1 == first {
					gaps[n-1].Last = last
				} else {
					gaps = append(gaps, segment.Range{First: first, Last: last})
				}
			}
			out, raw := encodeSegment(t, s, object.Encoding{Format: format})
			if !slices.Equal(out.Gaps, gaps) {
				t.Errorf("%s, blocks %v: gaps %v, not %v", format, blocks, out.Gaps, gaps)
			}
			want := s.records(t)
			if out.Records != uint64(len(want)) {
				t.Errorf("%s, blocks %v: %d records, not %d", format, blocks, out.Records, len(want))
			}
			if format == Lines {
				continue
			}
			got, err := readRecords(t, format, bytes.NewReader(raw))
			if err != nil {
				t.Fatalf("%s, blocks %v: %v", format, blocks, err)
			}
			sameRecords(t, got, want)
			if format != Native {
				continue
			}
			// The new segment knows what is missing.
			r, err := segment.NewReader(bytes.NewReader(raw), int64(len(raw)), nil)
			if err != nil {
				t.Fatal(err)
			}
			var missing []segment.Range
			for {
				_, _, err := r.Next()
				if err == io.EOF {
					break
				}
				if damage := (*segment.DamageError)(nil); errors.As(err, &damage) {
					gap, _ := damage.Range()
					missing = append(missing, gap)
				}
			}
			if !slices.Equal(missing, gaps) {
				t.Errorf("blocks %v: the native copy misses %v, not %v", blocks, missing, gaps)
			}
		}
	}
}

// TestNativeVerifies: the copy is a sealed segment like any other, with the header and the ledger of its source.
func TestNativeVerifies(t *testing.T) {
	s := makeSegment(t, textRecords(1500, 300), 7)
	_, raw := encodeSegment(t, s, object.Encoding{Format: Native, Codec: "none"})
	if err := segment.Verify(bytes.NewReader(raw), int64(len(raw))); err != nil {
		t.Error(err)
	}
	r, err := segment.NewReader(bytes.NewReader(raw), int64(len(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	src := s.open(t)
	h, sh := *r.Header(), *src.Header()
	h.Len, sh.Len = 0, 0
	if fmt.Sprintf("%+v", h) != fmt.Sprintf("%+v", sh) {
		t.Errorf("header %+v, not %+v", h, sh)
	}
	f, _ := r.Footer()
	sf, _ := src.Footer()
	if f.Ledger.Kept != sf.Ledger.Kept || f.Records != sf.Records || f.Bytes != sf.Bytes || f.Next != sf.Next {
		t.Errorf("footer %+v, not %+v", f, sf)
	}
}

// TestNativeStrict: the reader of objects does not mistake damage for gaps.
func TestNativeStrict(t *testing.T) {
	s := makeSegment(t, textRecords(40, 100), 10)
	_, raw := encodeSegment(t, s, object.Encoding{Format: Native, Codec: "none"})
	for n := 0; n < len(raw); n += 37 {
		if _, err := readRecords(t, Native, bytes.NewReader(raw[:n])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(raw), err)
		}
	}
	want := s.records(t)
	for at := 0; at < len(raw); at += 11 {
		raw[at] ^= 1
		got, err := readRecords(t, Native, bytes.NewReader(raw))
		if err == nil {
			sameRecords(t, got, want) // padding, or a copy of the header
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit flipped at %d: %v", at, err)
		}
		raw[at] ^= 1
	}
}

// TestEncodeAgain: the bytes are the same, whatever the position of the reader and whatever was encoded before.
func TestEncodeAgain(t *testing.T) {
	s := makeSegment(t, textRecords(3000, 500), 100)
	for _, format := range Names() {
		for _, codec := range compress.Names() {
			enc, err := NewEncoder(object.Encoding{Format: format, Codec: codec})
			if err != nil {
				t.Fatal(err)
			}
			var first, second bytes.Buffer
			out, err := enc.Encode(t.Context(), &first, s.open(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			other, err := NewEncoder(object.Encoding{Format: Native, Codec: "gzip"}) // want overrules it
			if err != nil {
				t.Fatal(err)
			}
			src := s.open(t)
			for range 1234 {
				if _, _, err := src.Next(); err != nil {
					t.Fatal(err)
				}
			}
			again, err := other.Encode(t.Context(), &second, src, &out.Encoding)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(out) || !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Errorf("%s/%s: %d bytes, then %d, %v\n%+v\n%+v", format, codec, first.Len(), second.Len(), err, out, again)
			}
		}
	}
}

// failingAt fails a read or write that touches byte n.
type failingAt struct {
	io.ReaderAt
	n int64
}

var errTorn = errors.New("torn cable")

func (f *failingAt) ReadAt(p []byte, off int64) (int, error) {
	if off <= f.n && f.n < off+int64(len(p)) {
		return 0, errTorn
	}
	return f.ReaderAt.ReadAt(p, off)
}

func (f *failingAt) Write(p []byte) (int, error) {
	if f.n -= int64(len(p)); f.n < 0 {
		return 0, errTorn
	}
	return len(p), nil
}

// TestEncodeFails: a failed read is an error and no gap, and a failed write is an error.
func TestEncodeFails(t *testing.T) {
	s := makeSegment(t, textRecords(3000, 500), 100)
	for _, format := range Names() {
		enc, err := NewEncoder(object.Encoding{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		src, err := segment.NewReader(&failingAt{bytes.NewReader(s.data), s.size / 2}, s.size, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enc.Encode(t.Context(), io.Discard, src, nil); !errors.Is(err, errTorn) {
			t.Errorf("%s: a failing read gives %v", format, err)
		}
		for _, n := range []int64{0, 50_000, 100_000} {
			if _, err := enc.Encode(t.Context(), &failingAt{n: n}, s.open(t), nil); !errors.Is(err, errTorn) {
				t.Errorf("%s: a failing write after %d bytes gives %v", format, n, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := enc.Encode(ctx, io.Discard, s.open(t), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled, %v", format, err)
		}
	}
}

// TestUnboundedDamage: a segment whose end is gone, opened without its last sequence number.
func TestUnboundedDamage(t *testing.T) {
	s := makeSegment(t, textRecords(50, 100), 10)
	s.data = s.data[:s.blocks[4]]
	src, err := segment.NewReader(bytes.NewReader(s.data), int64(len(s.data)), &segment.ReadOptions{Durable: s.size})
	if err != nil {
		t.Fatal(err)
	}
	enc, err := NewEncoder(object.Encoding{})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := enc.Encode(t.Context(), io.Discard, src, nil); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("%+v, %v", out, err)
	}
	src, err = segment.NewReader(bytes.NewReader(s.data), int64(len(s.data)), &segment.ReadOptions{Durable: s.size, Next: segmentFirst + 50})
	if err != nil {
		t.Fatal(err)
	}
	out, err := enc.Encode(t.Context(), io.Discard, src, nil)
	if want := []segment.Range{{First: segmentFirst + 40, Last: segmentFirst + 49}}; err != nil || !slices.Equal(out.Gaps, want) {
		t.Errorf("gaps %v, %v", out.Gaps, err)
	}
}

func FuzzLinesReader(f *testing.F) {
	f.Add([]byte("a\n\nb\xff\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := readRecords(t, Lines, bytes.NewReader(in))
		if (err == nil) != (len(in) == 0 || in[len(in)-1] == '\n') {
			t.Fatalf("%q: %v", in, err)
		}
		if err == nil && len(all) != bytes.Count(in, []byte("\n")) {
			t.Fatalf("%q: %d lines", in, len(all))
		}
	})
}

func FuzzNativeReader(f *testing.F) {
	s := makeSegment(f, textRecords(5, 40), 2)
	_, raw := encodeSegment(f, s, object.Encoding{Format: Native, Codec: "none"})
	f.Add(raw)
	s.damage(1)
	_, raw = encodeSegment(f, s, object.Encoding{Format: Native, Codec: "none"})
	f.Add(raw)
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := readRecords(t, Native, bytes.NewReader(in)); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, segment.ErrVersion) {
			t.Fatal(err)
		}
	})
}
