package fwlog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLine(t *testing.T) {
	g, err := NewGenerator("r-1", 7)
	if err != nil {
		t.Fatal(err)
	}
	tally := NewTally("r-1", 3000)
	for seq := range uint64(3000) {
		size := MinSize + int(seq%700)
		line := g.Append(nil, int(seq%5), seq, size)
		if len(line) != size {
			t.Fatalf("size %d: got %d bytes: %q", size, len(line), line)
		}
		src, got, err := Parse(line, "r-1")
		if err != nil || src != int(seq%5) || got != seq {
			t.Fatalf("Parse(%q) = %d, %d, %v", line, src, got, err)
		}
		if _, _, err := Parse(line, "r"); !errors.Is(err, ErrForeign) {
			t.Fatalf("another run: %v", err)
		}
		if _, _, err := Parse(fmt.Appendf(nil, "relayed: %s\n", line), "r-1"); err != nil {
			t.Fatalf("relayed: %v", err)
		}
		bad := append([]byte(nil), line...)
		bad[len(bad)-20] ^= 1
		if _, _, err := Parse(bad, "r-1"); !errors.Is(err, ErrAltered) {
			t.Fatalf("altered: %v", err)
		}
		if seq != 17 && seq != 2999 {
			tally.Add(line)
		}
	}
	if tally.OK() || tally.Missing() != 2 || fmt.Sprint(tally.FirstMissing(9)) != "[17 2999]" {
		t.Fatalf("%+v %v", tally.Missing(), tally.FirstMissing(9))
	}
	for _, seq := range []uint64{17, 2999} {
		tally.Add(g.Append(nil, 0, seq, MinSize))
	}
	if !tally.OK() {
		t.Fatal("complete, and not OK")
	}
	tally.Add(g.Append(nil, 0, 17, MinSize))
	tally.Add(g.Append(nil, 0, 3000, MinSize))
	tally.Add([]byte("hello"))
	if tally.OK() || tally.Duplicate != 1 || tally.Altered != 1 || tally.Foreign != 1 {
		t.Fatalf("%+v", tally)
	}
}

func TestSmallestLine(t *testing.T) {
	g, err := NewGenerator("0123456789012345678901234567890123456789", 7)
	if err != nil {
		t.Fatal(err)
	}
	line := g.Append(nil, 99999, 1<<63, MinSize)
	if _, seq, err := Parse(line, "0123456789012345678901234567890123456789"); err != nil || seq != 1<<63 || len(line) != MinSize {
		t.Fatalf("%d %v %q", seq, err, line)
	}
	for _, run := range []string{"", "a b", "01234567890123456789012345678901234567890"} {
		if _, err := NewGenerator(run, 1); err == nil {
			t.Errorf("run %q accepted", run)
		}
	}
}

func FuzzParse(f *testing.F) {
	g, _ := NewGenerator("r", 1)
	f.Add(g.Append(nil, 1, 2, 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		tally := NewTally("r", 100)
		tally.Add(data)
		if tally.Found+tally.Altered+tally.Foreign != 1 {
			t.Fatal("a record counts once")
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	g, _ := NewGenerator("r", 1)
	buf := make([]byte, 0, 512)
	b.SetBytes(512)
	b.ReportAllocs()
	for seq := uint64(0); b.Loop(); seq++ {
		buf = g.Append(buf[:0], 3, seq, 512)
	}
}

// TestFormats: a line of each format has its header, its exact size, and proves itself.
func TestFormats(t *testing.T) {
	g, err := NewGenerator("r", 7)
	if err != nil {
		t.Fatal(err)
	}
	g.Tick(time.Date(2026, 11, 2, 8, 0, 9, 123456000, time.UTC))
	for f, begin := range []string{
		RFC5424: "<134>1 2026-11-02T08:00:09.123456Z fw-7 filterlog - - - run=r src=7 seq=5 ",
		RFC3164: "<134>Nov  2 08:00:09 fw-7 filterlog: run=r src=7 seq=5 ",
	} {
		line := g.AppendAs(nil, Format(f), 7, 5, 333)
		if source, seq, err := Parse(line, "r"); len(line) != 333 || source != 7 || seq != 5 || err != nil || !strings.HasPrefix(string(line), begin) {
			t.Errorf("%s: %d bytes, %d, %d, %v: %q", Formats[f], len(line), source, seq, err, line)
		}
	}
}

// TestStamp: any bytes become a line that proves itself, and each changed byte is detected, except in a header that a relay
// adds.
func TestStamp(t *testing.T) {
	for _, text := range []string{"", "hello", "run=x src=1 seq=2 crc=00000000", "\x00\xff bytes \n", string(Stamp([]byte("once"), "a", 1, 2))} {
		line := Stamp([]byte(text), "r-1", 3, 4)
		if source, seq, err := Parse(line, "r-1"); source != 3 || seq != 4 || err != nil || string(RunOf(line)) != "r-1" {
			t.Errorf("%q: %d, %d, %v", line, source, seq, err)
		}
		if _, _, err := Parse(append([]byte("relay: "), line...), "r-1"); err != nil {
			t.Errorf("relayed %q: %v", line, err)
		}
		for i := range line {
			bad := bytes.Clone(line)
			bad[i] ^= 1
			if _, _, err := Parse(bad, "r-1"); err == nil {
				t.Errorf("%q was %q", bad, line)
			}
		}
		if len(text) > 0 {
			if _, _, err := Parse(line[1:], "r-1"); err == nil {
				t.Errorf("%q lacks its first byte", line[1:])
			}
		}
	}
}
