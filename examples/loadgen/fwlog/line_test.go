package fwlog

import (
	"errors"
	"fmt"
	"testing"
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
