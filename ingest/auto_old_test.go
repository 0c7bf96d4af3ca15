package ingest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

// oldAuto is the framing "auto" as it was when it accepted every count, and reported overlong frames at their end. over
// is set if a count was over the limit: from there on the two may differ.
type oldAuto struct {
	line  oldNewline
	count oldCounted
	over  bool
}

func (f *oldAuto) Next(data []byte, eof bool) (int, []byte, error) {
	switch {
	case f.count.skipping():
		return f.count.Next(data, eof)
	case f.line.inLine() || len(data) == 0:
		return f.line.Next(data, eof)
	}
	switch _, length, err := octetHeader(data); {
	case err == nil:
		f.over = f.over || length > int64(f.count.max)
		return f.count.Next(data, eof)
	case err == errShort && !eof:
		return 0, nil, nil
	}
	return f.line.Next(data, eof)
}

// oldCounted is a framing whose header contains the length of the payload that follows.
type oldCounted struct {
	max    int
	header func(data []byte) (size, length int, err error)
	left   int    // bytes of an overlong frame that are still to come
	lost   uint64 // bytes of it so far; 0 outside of an overlong frame
}

func (f *oldCounted) Next(data []byte, eof bool) (int, []byte, error) {
	if f.skipping() {
		return f.skip(data, 0, eof)
	}
	if len(data) == 0 {
		return 0, nil, nil
	}
	size, length, err := f.header(data)
	switch {
	case err == errShort && !eof:
		return 0, nil, nil
	case err == errShort:
		return len(data), nil, &LostFrame{Cause: segment.Malformed, Bytes: uint64(len(data))}
	case err != nil:
		return 0, nil, err
	case length > f.max:
		f.left = length
		return f.skip(data[size:], size, eof)
	case len(data)-size >= length:
		return size + length, data[size : size+length], nil
	case eof: // half a message must not pass for a message
		return len(data), nil, &LostFrame{Cause: segment.Malformed, Bytes: uint64(len(data) - size)}
	}
	return 0, nil, nil
}

func (f *oldCounted) skipping() bool { return f.left > 0 || f.lost > 0 }

// skip passes over as much of an overlong frame as there is; consumed is the header before it.
func (f *oldCounted) skip(data []byte, consumed int, eof bool) (int, []byte, error) {
	n := min(f.left, len(data))
	f.left -= n
	f.lost += uint64(n)
	if f.left > 0 && !eof {
		return consumed + n, nil, nil
	}
	e := &LostFrame{Cause: segment.FrameTooLong, Bytes: f.lost}
	f.left, f.lost = 0, 0
	return consumed + n, nil, e
}

type oldNewline struct {
	max     int
	scanned int    // bytes at the front of data that hold no LF
	skipped uint64 // bytes of an overlong line so far; none otherwise
}

// Next looks at every byte once, however often it is called with a line that is not complete yet.
func (f *oldNewline) Next(data []byte, eof bool) (int, []byte, error) {
	i := bytes.IndexByte(data[f.scanned:], '\n')
	if i >= 0 {
		i += f.scanned
		f.scanned = 0
		line := data[:i]
		if i > 0 && line[i-1] == '\r' {
			line = line[:i-1]
		}
		return f.line(line, i+1)
	}
	switch {
	case eof:
		f.scanned = 0
		if len(data) == 0 && f.skipped == 0 {
			return 0, nil, nil
		}
		return f.line(data, len(data))
	case f.skipped > 0 || len(data) > f.max+1 || len(data) > f.max && data[f.max] != '\r':
		// Keep one byte back: a CR may belong to the end of the line.
		f.skipped += uint64(len(data) - 1)
		f.scanned = 0
		return len(data) - 1, nil, nil
	}
	f.scanned = len(data)
	return 0, nil, nil
}

// line ends a line of which line is the part that was not skipped.
func (f *oldNewline) line(line []byte, n int) (int, []byte, error) {
	if size := f.skipped + uint64(len(line)); size > uint64(f.max) {
		f.skipped = 0
		return n, nil, &LostFrame{Cause: segment.FrameTooLong, Bytes: size}
	}
	if len(line) == 0 {
		return n, nil, nil
	}
	return n, line, nil
}

// inLine reports whether a line has begun and not ended.
func (f *oldNewline) inLine() bool { return f.scanned > 0 || f.skipped > 0 }

// sameAsBefore cuts a stream with both, and compares the results unless a count is over the limit.
func sameAsBefore(t *testing.T, stream []byte, limit int, ends ...int) {
	before := &oldAuto{line: oldNewline{max: limit}, count: oldCounted{max: limit, header: func(b []byte) (int, int, error) { size, n, err := octetHeader(b); return size, int(n), err }}}
	was := run(t, before, stream, ends...)
	if before.over {
		return
	}
	is := run(t, Auto(&Stream{MaxRecord: limit}), stream, ends...)
	if !slices.Equal(was.frames, is.frames) || !slices.Equal(was.lost, is.lost) || was.fatal != is.fatal {
		t.Fatalf("limit %d, stream %q\nwas %+v\nis  %+v", limit, stream, was, is)
	}
}

// Streams of octet-counting senders are cut as before: only counts over the limit make a difference.
func FuzzAutoAsBefore(f *testing.F) {
	for _, tt := range framings {
		f.Add([]byte(tt.stream), uint16(3), uint8(tt.max))
	}
	f.Add(bytes.Repeat([]byte("11 <13>a\nb c\n20261128 x\n7 1234567"), 3), uint16(9), uint8(20))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16, limit uint8) {
		sameAsBefore(t, stream, int(limit)+1, min(int(cut), len(stream)))
	})
}

// TestAutoAsBefore is the short form of the fuzz test, on streams of the relevant characters.
func TestAutoAsBefore(t *testing.T) {
	words := []string{"1", "0", "9", "12", "20261128", "1234567890", " ", "\n", "\r\n", "\r", "a", "<13>", "hello world", "5 hello", "3 a\nb"}
	seed := uint64(1)
	next := func(n int) int { seed = seed*6364136223846793005 + 1442695040888963407; return int(seed>>33) % n }
	for range 50_000 {
		var stream []byte
		for range 1 + next(12) {
			stream = append(stream, words[next(len(words))]...)
		}
		sameAsBefore(t, stream, 1+next(20), next(len(stream)+1))
	}
}
