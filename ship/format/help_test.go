package format

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// numbered is a record with its sequence number.
type numbered struct {
	seq uint64
	rec segment.Record
}

func (n numbered) String() string {
	return fmt.Sprintf("%d %d %v %v %q", n.seq, n.rec.Time, n.rec.Src, n.rec.Attrs, n.rec.Data)
}

// attrs returns a set of attributes.
func attrs(t testing.TB, pairs map[string]string) *segment.Attrs {
	t.Helper()
	a, err := segment.NewAttrs(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// someAttrs are sets of attributes, with and without characters that need an escape.
func someAttrs(t testing.TB) []*segment.Attrs {
	return []*segment.Attrs{
		nil, attrs(t, map[string]string{"k": "v"}), attrs(t, map[string]string{"k": "v", "x": ""}),
		attrs(t, map[string]string{"a.b-c_9": `"\"\\ grün 雪 🚰 <&>,}{"`, "z": `\`}),
		attrs(t, map[string]string{"worst": strings.Repeat(`"`, segment.MaxAttrsSize-8)}),
	}
}

// rawSegment is a segment file in memory and the offsets of its blocks.
type rawSegment struct {
	data   []byte
	blocks []int
	size   int64 // known to the reader
}

const segmentFirst = 1000

// makeSegment writes records, numbered from segmentFirst, in blocks of at most perBlock.
func makeSegment(t testing.TB, records []segment.Record, perBlock int) *rawSegment {
	t.Helper()
	h := &segment.Header{
		Generation: 0x1234567887654321, Segment: 3, First: segmentFirst, Created: time.Unix(1_795_000_000, 0),
		Spool: "0123456789abcdefghijklmnop", Epoch: 2, Class: "vpn", Instance: "i-1",
	}
	var s rawSegment
	var err error
	if s.data, err = segment.EncodeHeader(h, 4096); err != nil {
		t.Fatal(err)
	}
	b, err := segment.NewBuilder(s.data)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(segmentFirst)
	for len(records) > 0 {
		block := make([]byte, segment.BlockHeaderSize)
		n := 0
		for n < len(records) && n < perBlock && (n == 0 || len(block)+records[n].Size() <= segment.BlockTarget) {
			block = segment.AppendRecord(block, &records[n])
			n++
		}
		offset := int64(len(s.data))
		segment.Stamp(block, segment.BlockHeader{
			Generation: h.Generation, Offset: offset, First: next, Count: uint32(n), Durable: uint32(offset), Type: segment.RecordBlock,
		})
		b.Add(offset, block)
		s.blocks = append(s.blocks, len(s.data))
		s.data = append(s.data, block...)
		s.data = append(s.data, make([]byte, segment.Align(len(s.data))-len(s.data))...)
		records, next = records[n:], next+uint64(n)
	}
	seal, err := b.Seal(int64(len(s.data)), &segment.Ledger{Version: 1, Kept: segment.Tally{Records: next - segmentFirst}})
	if err != nil {
		t.Fatal(err)
	}
	s.data = append(s.data, seal...)
	s.size = int64(len(s.data))
	return &s
}

// damage flips a bit in the middle of a block.
func (s *rawSegment) damage(block int) {
	s.data[s.blocks[block]+segment.BlockHeaderSize+3] ^= 4
}

func (s *rawSegment) open(t testing.TB) *segment.Reader {
	t.Helper()
	r, err := segment.NewReader(bytes.NewReader(s.data), s.size, &segment.ReadOptions{Durable: s.size})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readSegment returns the records of a segment that are still readable.
func (s *rawSegment) records(t testing.TB) (all []numbered) {
	t.Helper()
	r := s.open(t)
	for {
		seq, rec, err := r.Next()
		var damage *segment.DamageError
		switch {
		case err == io.EOF:
			return all
		case errors.As(err, &damage):
		case err != nil:
			t.Fatal(err)
		default:
			rec.Data = bytes.Clone(rec.Data)
			all = append(all, numbered{seq, rec})
		}
	}
}

// encodeSegment encodes a segment, checks Encoded against the output, and returns the output decompressed.
func encodeSegment(t testing.TB, s *rawSegment, e object.Encoding) (object.Encoded, []byte) {
	t.Helper()
	enc, err := NewEncoder(e)
	if err != nil {
		t.Fatal(err)
	}
	var stored bytes.Buffer
	out, err := enc.Encode(t.Context(), &stored, s.open(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := enc.Decode(&stored, out.Encoding)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if out.RawBytes != int64(len(raw)) || out.RawSHA256 != sha256.Sum256(raw) {
		t.Errorf("%+v: output of %d bytes is not what Encoded says", e, len(raw))
	}
	return out, raw
}

// readRecords reads content to its end or its first error.
func readRecords(t testing.TB, format string, r io.Reader) (all []numbered, err error) {
	t.Helper()
	rr, err := NewReader(format, r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := rr.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		seq, rec, err := rr.Next()
		if err == nil && (segment.CheckSpoolID(rr.Spool()) == nil) != (format != Lines) {
			t.Errorf("format %s: spool %q", format, rr.Spool())
		}
		if err != nil {
			if _, _, again := rr.Next(); again != err {
				t.Errorf("after %v: %v", err, again)
			}
			if err == io.EOF {
				err = nil
			}
			return all, err
		}
		rec.Data = bytes.Clone(rec.Data)
		all = append(all, numbered{seq, rec})
	}
}

func sameRecords(t testing.TB, got, want []numbered) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			t.Fatalf("%d records, not %d", len(got), len(want))
		}
		if g, w := got[i], want[i]; g.seq != w.seq || g.rec.Time != w.rec.Time || g.rec.Src != w.rec.Src || !bytes.Equal(g.rec.Data, w.rec.Data) || !g.rec.Attrs.Equal(w.rec.Attrs) {
			t.Fatalf("record %d is\n%v, not\n%v", i, g, w)
		}
	}
}

// textRecords makes n records of about size bytes as a firewall sends them, from a few hundred sources.
func textRecords(n, size int) []segment.Record {
	rng := rand.New(rand.NewPCG(5, 6))
	words := []string{"established", "policy=allow-web-out", "zone=trust", "tls", "inspected", "nat", "closed", "app=\"web-browsing\"", "url=\"/index\""}
	all := make([]segment.Record, n)
	for i := range all {
		var b []byte
		b = fmt.Appendf(b, "<134>1 2026-11-22T08:00:%02d.%06dZ fw-%02d filterlog - - - src=10.%d.%d.%d dst=198.51.%d.%d spt=%d dpt=%d bytes=%d",
			i/100_000%60, i*10%1_000_000, i%7, rng.IntN(4), rng.IntN(256), rng.IntN(256), rng.IntN(256), rng.IntN(256), 1024+rng.IntN(60000),
			[]int{443, 443, 80, 53}[rng.IntN(4)], rng.IntN(1<<20))
		for len(b) < size {
			b = append(append(b, ' '), words[rng.IntN(len(words))]...)
		}
		all[i] = segment.Record{
			Time: 1_795_000_000_000_000_000 + int64(i)*10_000 + rng.Int64N(1000),
			Src:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(250))}), uint16(1024+i%3)),
			Data: b[:size],
		}
	}
	return all
}
