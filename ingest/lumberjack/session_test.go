package lumberjack

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func window(n int) string { return "2W" + string(u32(n)) }

func event(seq int, data string) string {
	return "2J" + string(u32(seq)) + string(u32(len(data))) + data
}

func pairs(seq int, kv ...string) string {
	s := "2D" + string(u32(seq)) + string(u32(len(kv)/2))
	for _, x := range kv {
		s += string(u32(len(x))) + x
	}
	return s
}

func compressed(frames ...string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write([]byte(strings.Join(frames, "")))
	z.Close()
	return "2C" + string(u32(b.Len())) + b.String()
}

func ack(seq int) string { return "2A" + string(u32(seq)) }

// result is the result of cutting a stream.
type result struct {
	frames []string
	lost   []ingest.LostFrame
	acks   string
	err    error
	left   int
}

// run feeds a stream to a session in pieces that end at the given offsets, as a connection would. It copies frames when the
// session asks for it, as late as a listener does.
func run(t testing.TB, max int, stream string, ends ...int) (r result) {
	t.Helper()
	s := Framing(&ingest.Stream{MaxRecord: max}).(*session)
	var held [][]byte
	flush := func() {
		for _, f := range held {
			r.frames = append(r.frames, string(f))
		}
		held = nil
		r.acks += string(s.Answers())
	}
	data, start := []byte(stream), 0
	// step takes one result, and reports whether there may be more.
	step := func(n int, frame []byte, err error) bool {
		var lost *ingest.LostFrame
		switch {
		case err == ingest.ErrFlush:
			flush()
		case errors.As(err, &lost):
			if k := len(r.lost) - 1; lost.Rest {
				r.lost[k].Bytes += lost.Bytes
			} else {
				r.lost = append(r.lost, *lost)
			}
		case err != nil:
			r.err = err
			return false
		case frame != nil:
			held = append(held, frame)
		}
		return true
	}
	for _, end := range append(ends, len(data)) {
		for r.err == nil {
			n, frame, err := s.Next(data[start:end:end], false)
			if n < 0 || n > end-start || n == 0 && frame != nil {
				t.Fatalf("Next = %d, %q, %v", n, frame, err)
			}
			if !step(n, frame, err) || n == 0 {
				break
			}
			start += n
			for err == nil && frame == nil {
				f, err := s.Unpack()
				if f == nil && err == nil || !step(0, f, err) {
					break
				}
			}
		}
		flush()
	}
	r.left = len(data) - start
	return r
}

func tooLong(n int) ingest.LostFrame {
	return ingest.LostFrame{Cause: segment.FrameTooLong, Bytes: uint64(n)}
}

var streams = []struct {
	name, stream string
	frames       []string
	lost         []ingest.LostFrame
	acks         string // of the whole stream in one piece
	fails        error
}{
	{"window", window(2) + event(1, `{"a":1}`) + event(2, ""), []string{`{"a":1}`, ""}, nil, ack(2), nil},
	{"two windows", window(1) + event(1, "a") + window(2) + event(1, "b") + event(2, "c"), []string{"a", "b", "c"}, nil, ack(1) + ack(2), nil},
	{"part of a window", window(9) + event(1, "a") + event(2, "b"), []string{"a", "b"}, nil, ack(2), nil},
	{"window cut short", window(9) + event(1, "a") + window(1) + event(1, "b"), []string{"a", "b"}, nil, ack(1) + ack(1), nil},
	{"pairs", window(1) + pairs(1, "line", "a \"b\"", "host", "x\xff"), []string{`{"line":"a \"b\"","host":"x\ufffd"}`}, nil, ack(1), nil},
	{"no pairs", pairs(7), []string{"{}"}, nil, ack(7), nil},
	{"compressed", window(3) + compressed(event(1, "a"), event(2, "bb"), event(3, "")), []string{"a", "bb", ""}, nil, ack(3), nil},
	{"compressed window", compressed(window(1), event(1, "a")) + compressed(window(1), pairs(1, "k", "v")), []string{"a", `{"k":"v"}`}, nil, ack(1) + ack(1), nil},
	{"nothing compressed", compressed() + window(1) + event(1, "a"), []string{"a"}, nil, ack(1), nil},
	{"too long", window(2) + event(1, strings.Repeat("x", 201)) + event(2, "b"), []string{"b"}, []ingest.LostFrame{tooLong(201)}, ack(2), nil},
	{"too long, compressed", window(2) + compressed(event(1, strings.Repeat("x", 5000)), event(2, "b")), []string{"b"}, []ingest.LostFrame{tooLong(5000)}, ack(2), nil},
	{"version 1", "1W" + string(u32(1)), nil, nil, "", errVersion},
	{"another frame", "2X" + string(u32(1)), nil, nil, "", errVersion},
	{"nested", compressed(compressed(event(1, "a"))), nil, nil, "", errNested},
	{"compressed too long", "2C" + string(u32(201)), nil, nil, "", errLarge},
	{"pairs at the limit", pairs(1, "k", strings.Repeat("x", 191)), []string{`{"k":"` + strings.Repeat("x", 191) + `"}`}, nil, ack(1), nil},
	{"pairs too long", pairs(1, "k", strings.Repeat("x", 192)), nil, nil, "", errLarge},
	{"too many pairs", "2D" + string(u32(1)) + string(u32(26)), nil, nil, "", errLarge},
	{"object too long", window(2) + pairs(1, "k", strings.Repeat("\n", 191)) + event(2, "b"), []string{"b"}, []ingest.LostFrame{tooLong(200)}, ack(2), nil},
	{"object too long, compressed", window(2) + compressed(pairs(1, "k", strings.Repeat("\n", 191)), event(2, "b")), []string{"b"}, []ingest.LostFrame{tooLong(200)}, ack(2), nil},
	{"object at the limit", pairs(1, "k", strings.Repeat("\n", 96)), []string{`{"k":"` + strings.Repeat(`\n`, 96) + `"}`}, nil, ack(1), nil},
	{"object one over it", pairs(1, "k", "x"+strings.Repeat("\n", 96)), nil, []ingest.LostFrame{tooLong(106)}, ack(1), nil},
	{"pairs without text", window(1) + pairs(1, make([]string, 50)...), []string{"{" + strings.Repeat(`"":"",`, 24) + `"":""}`}, nil, ack(1), nil},
	{"bomb", compressed(strings.Repeat(event(1, ""), 200*maxRatio)), nil, nil, "", errLarge},
	{"no zlib", "2C" + string(u32(4)) + "abcd", nil, nil, "", zlib.ErrHeader},
	{"cut inside", window(2) + compressed(event(1, "a"), event(2, "b")[:10]), []string{"a"}, nil, ack(1), errCut},
}

// Every stream gives the same result however it is cut: whole, in two at every byte, byte by byte.
func TestSession(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			check := func(how string, ends ...int) {
				t.Helper()
				r := run(t, 200, tt.stream, ends...)
				if !errors.Is(r.err, tt.fails) || tt.fails == nil && (r.err != nil || r.left > 0) {
					t.Fatalf("%s: %v, %d bytes left; want %v", how, r.err, r.left, tt.fails)
				}
				if tt.name != "bomb" && (!slices.Equal(r.frames, tt.frames) || !slices.Equal(r.lost, tt.lost)) {
					t.Fatalf("%s: %q, lost %v; want %q, %v", how, r.frames, r.lost, tt.frames, tt.lost)
				}
				if len(ends) == 0 && tt.name != "bomb" && r.acks != tt.acks || tt.fails == nil && !strings.HasSuffix(r.acks, tt.acks[len(tt.acks)-6:]) {
					t.Fatalf("%s: acknowledged %q, want %q", how, r.acks, tt.acks)
				}
			}
			check("whole")
			var all []int
			for i := range tt.stream {
				check(fmt.Sprint("cut at ", i), i)
				all = append(all, i)
			}
			check("byte by byte", all...)
		})
	}
}

// One frame inflates to much more than the buffer, and every event arrives unchanged.
func TestLargeFrame(t *testing.T) {
	var want, frames []string
	for i := range 3000 {
		want = append(want, fmt.Sprintf(`{"message":%q}`, strings.Repeat(string(rune('a'+i%26)), i%700*(1+i%3*8))))
		frames = append(frames, event(i+1, want[i]))
	}
	stream := window(3000) + compressed(frames...)
	if r := run(t, 4<<20, stream); r.err != nil || !slices.Equal(r.frames, want) || !strings.HasSuffix(r.acks, ack(3000)) {
		t.Errorf("%v, %d frames", r.err, len(r.frames))
	}
}

// Each byte of a data frame is looked at once, however the frame arrives.
func TestPairsLookedAtOnce(t *testing.T) {
	s := Framing(&ingest.Stream{MaxRecord: 1 << 20}).(*session)
	stream := []byte("2D" + string(u32(1)) + string(u32(1<<16)) + string(make([]byte, 8000)))
	before := 0
	for i := range stream {
		if n, frame, err := s.Next(stream[:i], false); n != 0 || frame != nil || err != nil {
			t.Fatal(n, frame, err)
		}
		if i >= 14 && (s.at < before || s.at < i-4) {
			t.Fatalf("after %d bytes it would go on at %d, %d before", i, s.at, before)
		}
		before = s.at
	}
	if n := testing.AllocsPerRun(10, func() { s.Next(stream, false) }); n > 0 {
		t.Errorf("%v allocations for an incomplete frame", n)
	}
}

// The JSON of a data frame may have six times its bytes. It is not made in full before its length is compared with the limit: a client
// once made the listener allocate 25 times TCPOptions.MaxRecord, far beyond what the documentation of the package says.
func TestEscapesAreBounded(t *testing.T) {
	const max = 1 << 20
	stream := window(2) + pairs(1, "k", string(make([]byte, max-100))) + event(2, "b")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := run(t, max, stream)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc - uint64(len(stream)); n > 10*max { // encoding/json allocates too, a piece at a time
		t.Errorf("%d bytes allocated for a frame of %d", n, len(stream))
	}
	if r.err != nil || !slices.Equal(r.frames, []string{"b"}) || len(r.lost) != 1 || r.acks != ack(2) {
		t.Errorf("%v: %d frames, lost %v, acknowledged %q", r.err, len(r.frames), r.lost, r.acks)
	}
}

// FuzzSession: no stream makes a session panic or return an event over the limit, and the result does not depend on where
// reads end.
func FuzzSession(f *testing.F) {
	for _, tt := range streams {
		f.Add([]byte(tt.stream), uint16(3), uint8(200))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16, limit uint8) {
		max := int(limit) + 1
		whole := run(t, max, string(stream))
		split := run(t, max, string(stream), min(int(cut), len(stream)))
		if !slices.Equal(whole.frames, split.frames) || (whole.err == nil) != (split.err == nil) || len(whole.lost) != len(split.lost) {
			t.Fatalf("whole %+v\nsplit %+v", whole, split)
		}
		for _, fr := range whole.frames {
			if len(fr) > max {
				t.Fatalf("frame of %d bytes, limit %d", len(fr), max)
			}
		}
	})
}

func BenchmarkSession(b *testing.B) {
	var frames []string
	for i := range 2048 {
		frames = append(frames, event(i+1, fmt.Sprintf(`{"@timestamp":"2026-11-28T00:00:00Z","message":"%0500d"}`, i)))
	}
	stream := []byte(window(2048) + compressed(frames...))
	s := Framing(&ingest.Stream{MaxRecord: 1 << 20}).(*session)
	b.ReportAllocs()
	for b.Loop() {
		data := stream
		for len(data) > 0 {
			n, _, err := s.Next(data, false)
			if err != nil {
				b.Fatal(err)
			}
			data = data[n:]
			for {
				if f, err := s.Unpack(); f == nil && err == nil {
					break
				}
			}
		}
		s.Answers()
	}
}
