package fluentforward

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// The shortest forms of MessagePack, as far as the tests need them.

func str(s string) string {
	if len(s) < 32 {
		return string([]byte{0xa0 | byte(len(s))}) + s
	}
	return "\xdb" + string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func bin(s string) string {
	return "\xc6" + string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func arr(elems ...string) string {
	return "\xdd" + string(binary.BigEndian.AppendUint32(nil, uint32(len(elems)))) + strings.Join(elems, "")
}

func dict(elems ...string) string {
	return "\xdf" + string(binary.BigEndian.AppendUint32(nil, uint32(len(elems)/2))) + strings.Join(elems, "")
}

func seconds(n uint32) string { return "\xce" + string(binary.BigEndian.AppendUint32(nil, n)) }

func eventtime(sec, nsec uint32) string {
	return "\xd7\x00" + string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, sec), nsec))
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

func chunk(id string) string { return dict(str("chunk"), str(id)) }

func acked(id string) string { return "\x81" + str("ack") + str(id) }

// result is what a stream becomes.
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
	for _, end := range append(ends, len(data)) {
		for r.err == nil {
			n, frame, err := s.Next(data[start:end:end], false)
			if n < 0 || n > end-start || frame != nil || err != nil && n > 0 {
				t.Fatalf("Next = %d, %q, %v", n, frame, err)
			}
			if r.err = err; n == 0 || err != nil {
				break
			}
			start += n
			for {
				f, err := s.Unpack()
				var lost *ingest.LostFrame
				if err == ingest.ErrFlush {
					flush()
				} else if errors.As(err, &lost) {
					r.lost = append(r.lost, *lost)
				} else if r.err = err; f == nil {
					break
				} else {
					held = append(held, f)
				}
			}
		}
		flush()
	}
	r.left = len(data) - start
	return r
}

func malformed(n uint64) []ingest.LostFrame {
	return []ingest.LostFrame{{Cause: segment.Malformed, Bytes: n}}
}

const at = `"time":"2026-11-28T22:32:00Z"`

var now = seconds(1795905120)

var streams = []struct {
	name, stream string
	frames       []string
	lost         []ingest.LostFrame
	acks         string
	fails        error
}{
	{"message", arr(str("app"), now, dict(str("a"), "\x01")), []string{`{"tag":"app",` + at + `,"record":{"a":1}}`}, nil, "", nil},
	{"message with chunk", arr(str("app"), now, dict(), chunk("c1")), []string{`{"tag":"app",` + at + `,"record":{}}`}, nil, acked("c1"), nil},
	{"event time", arr(str("a"), eventtime(1795905120, 5), dict(str("n"), eventtime(1795905120, 0))), []string{`{"tag":"a","time":"2026-11-28T22:32:00.000000005Z","record":{"n":"2026-11-28T22:32:00Z"}}`}, nil, "", nil},
	{"forward", arr(str("a"), arr(arr(now, dict(str("n"), "\x01")), arr(now, dict(str("n"), "\x02"))), chunk("c")), []string{`{"tag":"a",` + at + `,"record":{"n":1}}`, `{"tag":"a",` + at + `,"record":{"n":2}}`}, nil, acked("c"), nil},
	{"metadata", arr(str("a"), arr(arr(arr(now, dict()), dict()), arr(arr(now, dict(str("k"), "\x01")), dict()))), []string{`{"tag":"a",` + at + `,"record":{}}`, `{"tag":"a",` + at + `,"metadata":{"k":1},"record":{}}`}, nil, "", nil},
	{"no metadata", arr(str("a"), arr(arr(arr(now, "\x01"), dict()))), nil, malformed(16), "", nil},
	{"nothing forwarded", arr(str("a"), arr(), chunk("c")), nil, nil, acked("c"), nil},
	{"packed", arr(str("a"), bin(arr(now, dict())+arr(now, dict())), chunk("c")), []string{`{"tag":"a",` + at + `,"record":{}}`, `{"tag":"a",` + at + `,"record":{}}`}, nil, acked("c"), nil},
	{"packed as a string", arr(str("a"), str(arr(now, dict())), "\xc0"), []string{`{"tag":"a",` + at + `,"record":{}}`}, nil, "", nil},
	{"compressed", arr(str("a"), bin(gzipped(arr(now, dict(str("n"), "\x01")))+gzipped(arr(now, dict(str("n"), "\x02")))), dict(str("compressed"), str("gzip"), str("size"), "\x02", str("chunk"), str("c"))), []string{`{"tag":"a",` + at + `,"record":{"n":1}}`, `{"tag":"a",` + at + `,"record":{"n":2}}`}, nil, acked("c"), nil},
	{"heartbeat", "\xc0" + arr(str("a"), now, dict()), []string{`{"tag":"a",` + at + `,"record":{}}`}, nil, "", nil},
	{
		"values", arr(str("a"), now, dict(str("nil"), "\xc0", str("t"), "\xc3", str("i"), "\xd1\xff\x00", str("u"), "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
			str("f"), "\xca\x3f\x80\x00\x00", str("nan"), "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", str("s"), str("\"é\xff"), str("b"), bin("text"), str("raw"), bin("\xff\x00"),
			"\x07", "\xff", str("x"), "\xd4\x05z", str("l"), arr("\x01", arr()))),
		[]string{`{"tag":"a",` + at + `,"record":{"nil":null,"t":true,"i":-256,"u":18446744073709551615,"f":1,"nan":"NaN","s":"\"é\ufffd","b":"text","raw":"/wA=","7":-1,"x":"eg==","l":[1,[]]}}`},
		nil, "", nil,
	},
	{"too long", arr(str("a"), arr(arr(now, dict(str("n"), str(strings.Repeat("\x01", 100)))), arr(now, dict())), chunk("c")), []string{`{"tag":"a",` + at + `,"record":{}}`}, []ingest.LostFrame{{Cause: segment.FrameTooLong, Bytes: 117}}, acked("c"), nil},
	{"no array", "\x01", nil, nil, "", errMessage},
	{"too short", arr(str("a")), nil, nil, "", errMessage},
	{"no tag", arr("\x01", now, dict()), nil, nil, "", errMessage},
	{"no record", arr(str("a"), now, "\x01"), nil, malformed(6), "", nil},
	{"no time", arr(str("a"), "\xc3", dict()), nil, malformed(6), "", nil},
	{"no entry", arr(str("a"), arr("\x01")), nil, nil, "", errEntry},
	{"cut entry", arr(str("a"), bin(arr(now, dict())[:12])), nil, nil, "", errFormat},
	{"reserved", "\xc1", nil, nil, "", errFormat},
	{"deep", arr(str("a"), now, strings.Repeat("\x81\xa0", 120)+"\xc0"), nil, malformed(246), "", nil},
	{"map as a key", arr(str("a"), now, dict(dict(str("k"), "\x01"), "\x01")), nil, malformed(19), "", nil},
	{"one without JSON", arr(str("a"), arr(arr(now, dict()), arr(now, dict(dict(str("k"), "\x01"), "\x01")), arr(now, dict())), chunk("c")), []string{`{"tag":"a",` + at + `,"record":{}}`, `{"tag":"a",` + at + `,"record":{}}`}, malformed(19), acked("c"), nil},
	{"another codec", arr(str("a"), bin(""), dict(str("compressed"), str("zstd"))), nil, nil, "", errCodec},
	{"no gzip", arr(str("a"), bin("0123456789abcdef"), dict(str("compressed"), str("gzip"))), nil, nil, "", gzip.ErrHeader},
	{"bomb", arr(str("a"), bin(gzipped(arr(now, dict(str("n"), bin(strings.Repeat("x", 1000)))))), dict(str("compressed"), str("gzip"))), nil, []ingest.LostFrame{{Cause: segment.FrameTooLong, Bytes: 1017}}, "", nil},
	{"message too long", arr(str("a"), bin(strings.Repeat("x", 900)))[:800], nil, nil, "", errLarge},
}

// Every stream gives the same however it is cut: whole, in two at every byte, byte by byte.
func TestSession(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			check := func(how string, ends ...int) {
				t.Helper()
				r := run(t, 500, tt.stream, ends...)
				if !errors.Is(r.err, tt.fails) || tt.fails == nil && (r.err != nil || r.left > 0) {
					t.Fatalf("%s: %v, %d bytes left; want %v", how, r.err, r.left, tt.fails)
				}
				if !slices.Equal(r.frames, tt.frames) || !slices.Equal(r.lost, tt.lost) || r.acks != tt.acks {
					t.Fatalf("%s: %q, lost %v, acknowledged %q; want %q, %v, %q", how, r.frames, r.lost, r.acks, tt.frames, tt.lost, tt.acks)
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

// Much more than the buffers comes out of one message, and every event is as it was.
func TestLargeMessage(t *testing.T) {
	var want, packed []string
	for i := range 3000 {
		pad := strings.Repeat(string(rune('a'+i%26)), i%700*(1+i%3*8))
		want = append(want, fmt.Sprintf(`{"tag":"a",%s,"record":{"m":%q}}`, at, pad))
		packed = append(packed, arr(now, dict(str("m"), str(pad))))
	}
	entries := strings.Join(packed, "")
	for name, stream := range map[string]string{
		"plain":      arr(str("a"), bin(entries), chunk("c")),
		"compressed": arr(str("a"), bin(gzipped(entries)), dict(str("compressed"), str("gzip"), str("chunk"), str("c"))),
	} {
		if r := run(t, 100<<20, stream); r.err != nil || !slices.Equal(r.frames, want) || r.acks != acked("c") {
			t.Errorf("%s: %v, %d frames", name, r.err, len(r.frames))
		}
	}
	if r := run(t, 200<<10, arr(str("a"), bin(gzipped(strings.Repeat(entries, 2))), dict(str("compressed"), str("gzip")))); !errors.Is(r.err, errLarge) {
		t.Errorf("a bomb: %v", r.err)
	}
}

// A tag, which every event of a message repeats, and the id of a chunk, which the answer repeats, are short.
func TestLongNames(t *testing.T) {
	for _, tt := range []struct {
		tag, chunk int
		fails      error
	}{{maxTag, maxChunk, nil}, {maxTag + 1, 1, errMessage}, {1, maxChunk + 1, errMessage}} {
		r := run(t, 1<<20, arr(str(strings.Repeat("t", tt.tag)), now, dict(), chunk(strings.Repeat("c", tt.chunk))))
		if !errors.Is(r.err, tt.fails) || (len(r.frames) == 1) != (tt.fails == nil) {
			t.Errorf("%+v: %v, %d frames", tt, r.err, len(r.frames))
		}
	}
}

// The JSON of an event may have six times its bytes, and the event a thousand times those of its gzip. It is not made in full
// before its length is compared with the limit: a message of a kilobyte once made the listener allocate 56 MB, far beyond
// TCPOptions.MemoryBytes. The event is lost alone.
func TestEscapesAreBounded(t *testing.T) {
	const max = 1 << 20
	long := arr(now, dict(str("m"), str(strings.Repeat("\x01", max-100))))
	options := dict(str("compressed"), str("gzip"), str("chunk"), str("c"))
	stream := arr(str("a"), bin(gzipped(long+arr(now, dict()))), options)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := run(t, max, stream)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16*max { // 6 to 9, since encoding/json allocates too
		t.Errorf("%d bytes allocated for a message of %d", n, len(stream))
	}
	lost := []ingest.LostFrame{{Cause: segment.FrameTooLong, Bytes: uint64(len(long) - 5)}}
	if want := []string{`{"tag":"a",` + at + `,"record":{}}`}; r.err != nil || !slices.Equal(r.frames, want) || !slices.Equal(r.lost, lost) || r.acks != acked("c") {
		t.Errorf("%v: %q, lost %v, acknowledged %q", r.err, r.frames, r.lost, r.acks)
	}
}

// An idle connection keeps little of what its chunks needed: neither the JSON, nor the buffer of the inflated entries, nor the
// listener's buffer, to which the id of the chunk points.
func TestIdleSessionIsSmall(t *testing.T) {
	entries := strings.Repeat(arr(now, dict(str("m"), str(strings.Repeat("x", 1000)))), 300)
	for name, message := range map[string]string{
		"plain":      arr(str("a"), bin(entries), chunk("c")),
		"compressed": arr(str("a"), bin(gzipped(entries)), dict(str("compressed"), str("gzip"), str("chunk"), str("c"))),
	} {
		s := Framing(&ingest.Stream{MaxRecord: 1 << 20}).(*session)
		if _, _, err := s.Next([]byte(message), false); err != nil {
			t.Fatal(err)
		}
		for s.active {
			if _, err := s.Unpack(); err != nil && err != ingest.ErrFlush {
				t.Fatal(err)
			}
		}
		s.Answers()
		if n := cap(s.json) + cap(s.buf); n > 16<<10 || s.ack != nil {
			t.Errorf("%s: it keeps %d bytes, and points to %d of the listener's", name, n, cap(s.ack))
		}
	}
}

// Whether a client sends again what is not acknowledged is decided by each of its messages. Those that ask and those that do
// not are never in the same batch, so the listener knows of each batch whether its loss has to be counted.
func TestAskedByMessage(t *testing.T) {
	s := Framing(&ingest.Stream{MaxRecord: 1000}).(*session)
	batches := ""
	for _, asks := range []bool{true, true, false, false, true} {
		m := arr(str("a"), now, dict())
		if asks {
			m = arr(str("a"), now, dict(), chunk("c"))
		}
		s.Next([]byte(m), false)
		for s.active {
			switch f, err := s.Unpack(); {
			case err == ingest.ErrFlush:
				batches += fmt.Sprintf(" asked %v, ", s.Asked())
			case f != nil:
				batches += "event "
			}
		}
	}
	batches += fmt.Sprintf(" asked %v", s.Asked())
	if want := "event event  asked true, event event  asked false, event  asked true"; batches != want {
		t.Errorf("batches: %s\nwant     %s", batches, want)
	}
}

// FuzzSession: no stream crashes a session, gives what is not JSON or is over the limit, or depends on where reads end.
func FuzzSession(f *testing.F) {
	for _, tt := range streams {
		f.Add([]byte(tt.stream), uint16(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		whole := run(t, 500, string(stream))
		split := run(t, 500, string(stream), min(int(cut), len(stream)))
		if !slices.Equal(whole.frames, split.frames) || (whole.err == nil) != (split.err == nil) || len(whole.lost) != len(split.lost) || whole.acks != split.acks {
			t.Fatalf("whole %+v\nsplit %+v", whole, split)
		}
		for _, fr := range whole.frames {
			if len(fr) > 500 || !json.Valid([]byte(fr)) {
				t.Fatalf("%q", fr)
			}
		}
	})
}
