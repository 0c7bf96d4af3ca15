package ingest

import (
	"bytes"

	"github.com/penstock-go/penstock/spool/segment"
)

// Newline makes each line a record (RFC 6587 §3.4.2, with LF as the trailer). It strips LF or CR LF and skips empty
// lines. Bytes after the last LF are a record too when the sender closes the connection.
func Newline(s *Stream) Framer { return &newline{max: s.MaxRecord} }

type newline struct {
	max     int
	scanned int  // bytes at the front of data that hold no LF
	skips   bool // skipping an overlong line that was reported
}

// Next examines every byte once, even if it is called several times with the same incomplete line.
func (f *newline) Next(data []byte, eof bool) (int, []byte, error) {
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
		if len(data) == 0 {
			f.skips = false
			return 0, nil, nil
		}
		return f.line(data, len(data))
	case f.skips && len(data) < 2:
		return 0, nil, nil
	case f.skips || len(data) > f.max+1 || len(data) > f.max && data[f.max] != '\r':
		// Keep one byte back: a CR may belong to the end of the line.
		f.scanned = 0
		return len(data) - 1, nil, f.lose(len(data)-1, true)
	}
	f.scanned = len(data)
	return 0, nil, nil
}

// line completes a line, of which line is the part that was not skipped.
func (f *newline) line(line []byte, n int) (int, []byte, error) {
	if len(line) == 0 {
		f.skips = false
		return n, nil, nil
	}
	if f.skips || len(line) > f.max {
		return n, nil, f.lose(len(line), false)
	}
	return n, line, nil
}

// lose reports n bytes of an overlong line. goesOn means that more of it will follow.
func (f *newline) lose(n int, goesOn bool) error {
	e := &LostFrame{Cause: segment.FrameTooLong, Bytes: uint64(n), Rest: f.skips}
	f.skips = goesOn
	return e
}

// inLine reports whether a line has begun and not ended.
func (f *newline) inLine() bool { return f.scanned > 0 || f.skips }
