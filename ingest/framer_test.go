package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// result is what a stream was cut into.
type result struct {
	frames []string
	lost   []LostFrame
	fatal  bool
	left   string // not consumed when the framer gave up
}

// run feeds stream to a framer in pieces that end at the given offsets, as a connection would.
func run(t testing.TB, f Framer, stream []byte, ends ...int) (r result) {
	t.Helper()
	start := 0
	feed := func(end int, eof bool) bool {
		for range len(stream)*2 + 10 {
			n, frame, err := f.Next(stream[start:end:end], eof)
			if n < 0 || n > end-start || frame != nil && (err != nil || n == 0) {
				t.Fatalf("Next(%q) = %d, %q, %v", stream[start:end], n, frame, err)
			}
			if frame != nil {
				r.frames = append(r.frames, string(frame))
			}
			var lost *LostFrame
			if errors.As(err, &lost) {
				if n == 0 && !eof {
					t.Fatalf("lost %v without progress", lost)
				}
				if k := len(r.lost) - 1; !lost.Rest {
					r.lost = append(r.lost, *lost)
				} else if r.lost[k].Bytes += lost.Bytes; lost.Bytes == 0 || lost.Cause != r.lost[k].Cause {
					t.Fatalf("more of a lost frame: %+v", lost)
				}
			} else if err != nil {
				r.fatal, r.left = true, string(stream[start:end])
				return false
			}
			start += n
			if n == 0 && err == nil {
				return true
			}
		}
		t.Fatalf("the framer does not come to an end at %q", stream[start:end])
		return false
	}
	for _, end := range ends {
		if !feed(end, false) {
			return r
		}
	}
	if feed(len(stream), false) && feed(len(stream), true) && start < len(stream) {
		t.Fatalf("%q is left at the end", stream[start:])
	}
	return r
}

func tooLong(n uint64) LostFrame   { return LostFrame{Cause: segment.FrameTooLong, Bytes: n} }
func malformed(n uint64) LostFrame { return LostFrame{Cause: segment.Malformed, Bytes: n} }

var framings = []struct {
	name    string
	framing Framing
	max     int
	stream  string
	frames  []string
	lost    []LostFrame
	fatal   bool
}{
	{"newline", Newline, 10, "a\nbc\r\n\n\r\nd\re\n\x00\n0123456789\n0123456789\r\nend", []string{"a", "bc", "d\re", "\x00", "0123456789", "0123456789", "end"}, nil, false},
	{"newline empty", Newline, 10, "", nil, nil, false},
	{"newline too long", Newline, 4, "12345\nok\n123456789012345\r\n1234\r5\nok\n", []string{"ok", "ok"}, []LostFrame{tooLong(5), tooLong(15), tooLong(6)}, false},
	{"newline too long at the end", Newline, 4, "ok\n1234567", []string{"ok"}, []LostFrame{tooLong(7)}, false},
	{"newline CR at the end", Newline, 4, "ok\r", []string{"ok\r"}, nil, false},
	{"newline of limit 1", Newline, 1, "a\nbb\nc\r\n\r\r\n", []string{"a", "c", "\r"}, []LostFrame{tooLong(2)}, false},
	{"octet", OctetCounting, 100, "1 a5 hello3 \n\n\n12 twelve bytes", []string{"a", "hello", "\n\n\n", "twelve bytes"}, nil, false},
	{"octet too long", OctetCounting, 4, "2 ab5 hello9 123456789" + "1 z", []string{"ab", "z"}, []LostFrame{tooLong(5), tooLong(9)}, false},
	{"octet too long at the end", OctetCounting, 4, "2 ab500 hello", []string{"ab"}, []LostFrame{tooLong(5)}, false},
	{"octet cut off", OctetCounting, 10, "2 ab5 hel", []string{"ab"}, []LostFrame{malformed(3)}, false},
	{"octet cut off in the length", OctetCounting, 100, "2 ab55", []string{"ab"}, []LostFrame{malformed(2)}, false},
	{"octet without length", OctetCounting, 10, "2 abhello", []string{"ab"}, nil, true},
	{"octet zero", OctetCounting, 10, "0 ", nil, nil, true},
	{"octet ten digits", OctetCounting, 10, "1000000000 a", nil, nil, true},
	{"octet no space", OctetCounting, 10, "1\na", nil, nil, true},
	{"auto", Auto, 20, "line\n5 hello<13>x\r\n\n3 a\nb\n2026-10-01 x\nend", []string{"line", "hello", "<13>x", "a\nb", "2026-10-01 x", "end"}, nil, false},
	{"auto digits at the end", Auto, 20, "line\n123", []string{"line", "123"}, nil, false},
	{"auto many digits", Auto, 20, "1234567890 a\nb\n", []string{"1234567890 a", "b"}, nil, false},
	{"auto too long", Auto, 4, "12345 x\n" + strings.Repeat("5", 12345-2) + "4 abcdlonger 4 zz\nok", []string{"ok"}, []LostFrame{tooLong(7), tooLong(12360)}, false},
	{"auto dates", Auto, 40, "20261128 10:00:00 a\n20261128 10:00:01 b\r\n5 hello20261128 c\n41 d\n40 " + strings.Repeat("e", 40) + "20261128", []string{"20261128 10:00:00 a", "20261128 10:00:01 b", "hello", "20261128 c", "41 d", strings.Repeat("e", 40), "20261128"}, nil, false},
	{"auto leading zero", Auto, 20, "0 a\n", []string{"0 a"}, nil, false},
	{"len16", Len16, 10, "\x00\x01a\x00\x00\x00\x05hello", []string{"a", "", "hello"}, nil, false},
	{"len16 too long", Len16, 4, "\x00\x05hello\x00\x02ab", []string{"ab"}, []LostFrame{tooLong(5)}, false},
	{"len16 cut off", Len16, 10, "\x00\x05hel", nil, []LostFrame{malformed(3)}, false},
	{"len16 cut off in the length", Len16, 10, "\x00\x01a\x00", []string{"a"}, []LostFrame{malformed(1)}, false},
	{"len32", Len32, 10, "\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x05hello", []string{"a", "", "hello"}, nil, false},
	{"len32 too long", Len32, 10, "\xff\xff\xff\xffabc", nil, []LostFrame{tooLong(3)}, false},
	{"fixed", Fixed(3), 10, "abcdefg", []string{"abc", "def"}, []LostFrame{malformed(1)}, false},
	{"fixed over the limit", Fixed(3), 2, "abcdef", nil, []LostFrame{tooLong(3), tooLong(3)}, false},
	{"fixed of nothing", Fixed(0), 2, "abcdef", nil, nil, true},
}

// Every stream yields the same however it is cut: whole, in two at every byte, byte by byte.
func TestFramers(t *testing.T) {
	for _, tt := range framings {
		t.Run(tt.name, func(t *testing.T) {
			check := func(how string, ends ...int) {
				t.Helper()
				r := run(t, tt.framing(&Stream{MaxRecord: tt.max}), []byte(tt.stream), ends...)
				if !slices.Equal(r.frames, tt.frames) || !slices.Equal(r.lost, tt.lost) || r.fatal != tt.fatal {
					t.Fatalf("%s: %.200q lost %v fatal %v\nwant %.200q lost %v fatal %v", how, r.frames, r.lost, r.fatal, tt.frames, tt.lost, tt.fatal)
				}
			}
			check("whole")
			var all []int
			for i := range tt.stream {
				all = append(all, i)
				if len(tt.stream) < 200 || i < 50 || i%97 == 0 {
					check(fmt.Sprint("split at ", i), i)
				}
			}
			if len(tt.stream) < 200 {
				check("byte by byte", all...)
			}
		})
	}
}

// fuzzFramer checks what holds for every stream: it ends, nothing over the limit passes, no byte counts twice, and the
// result does not depend on where reads end.
func fuzzFramer(f *testing.F, framing Framing) {
	for _, tt := range framings {
		f.Add([]byte(tt.stream), uint16(3), uint16(7), uint8(tt.max))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b uint16, limit uint8) {
		m := int(limit) + 1
		i, j := min(int(a), len(stream)), min(int(b), len(stream))
		whole := run(t, framing(&Stream{MaxRecord: m}), stream)
		split := run(t, framing(&Stream{MaxRecord: m}), stream, min(i, j), max(i, j))
		if !slices.Equal(whole.frames, split.frames) || !slices.Equal(whole.lost, split.lost) || whole.fatal != split.fatal {
			t.Fatalf("whole %+v\nsplit %+v", whole, split)
		}
		n := uint64(len(whole.left))
		for _, fr := range whole.frames {
			if len(fr) > m {
				t.Fatalf("frame of %d bytes, limit %d", len(fr), m)
			}
			n += uint64(len(fr))
		}
		for _, l := range whole.lost {
			if l.Cause == segment.FrameTooLong && l.Bytes <= uint64(m) && len(whole.frames)+len(whole.lost) > 1 && l != whole.lost[len(whole.lost)-1] {
				t.Fatalf("%+v is not too long for %d", l, m)
			}
			n += l.Bytes
		}
		if n > uint64(len(stream)) {
			t.Fatalf("%d bytes from %d: %+v", n, len(stream), whole)
		}
	})
}

func FuzzNewline(f *testing.F)       { fuzzFramer(f, Newline) }
func FuzzOctetCounting(f *testing.F) { fuzzFramer(f, OctetCounting) }
func FuzzAuto(f *testing.F)          { fuzzFramer(f, Auto) }
func FuzzLen16(f *testing.F)         { fuzzFramer(f, Len16) }
func FuzzLen32(f *testing.F)         { fuzzFramer(f, Len32) }
func FuzzFixed(f *testing.F)         { fuzzFramer(f, Fixed(5)) }

func BenchmarkFramers(b *testing.B) {
	line := strings.Repeat("x", 511)
	for _, bm := range []struct {
		name    string
		framing Framing
		frame   string
	}{
		{"newline", Newline, line + "\n"},
		{"octet", OctetCounting, "511 " + line},
		{"auto-newline", Auto, line + "\n"},
		{"auto-octet", Auto, "511 " + line},
		{"len32", Len32, string(binary.BigEndian.AppendUint32(nil, 511)) + line},
	} {
		b.Run(bm.name, func(b *testing.B) {
			buf := bytes.Repeat([]byte(bm.frame), 128)
			f := bm.framing(&Stream{MaxRecord: 1 << 20})
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				for data, frames := buf, 0; ; frames++ {
					n, _, _ := f.Next(data, false)
					if n == 0 {
						if frames != 128 {
							b.Fatal(frames)
						}
						break
					}
					data = data[n:]
				}
			}
		})
	}
}
