package ingest

import (
	"bytes"

	"github.com/penstock-go/penstock/spool/segment"
)

// Newline takes each line as a record (RFC 6587 §3.4.2, with LF as the trailer). LF or CR LF is stripped, empty lines
// are skipped, and what stands behind the last LF when the sender closes the connection is a record too.
func Newline(max int) Framer { return &newline{max: max} }

type newline struct {
	max     int
	scanned int    // bytes at the front of data that hold no LF
	skipped uint64 // bytes of an overlong line so far; none otherwise
}

// Next looks at every byte once, however often it is called with a line that is not complete yet.
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
func (f *newline) line(line []byte, n int) (int, []byte, error) {
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
func (f *newline) inLine() bool { return f.scanned > 0 || f.skipped > 0 }
