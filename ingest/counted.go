package ingest

import (
	"encoding/binary"
	"errors"

	"github.com/penstock-go/penstock/spool/segment"
)

// OctetCounting takes frames that begin with their length in ASCII digits and a space (RFC 6587 §3.4.1). Anything else
// at that position is malformed and closes the connection, because the beginning of the next frame cannot be known.
func OctetCounting(s *Stream) Framer { return &counted{max: s.MaxRecord, header: octetHeader} }

// Len16 takes frames that begin with their length as a big-endian integer of 2 bytes. A frame without payload is a record.
func Len16(s *Stream) Framer { return &counted{max: s.MaxRecord, header: len16Header} }

// Len32 is Len16 with a length of 4 bytes.
func Len32(s *Stream) Framer { return &counted{max: s.MaxRecord, header: len32Header} }

// Fixed takes frames of exactly size bytes, with nothing between them. size is 1 to TCPOptions.MaxRecord. Longer frames
// are lost (frame_too_long); a size below 1 closes every connection as malformed.
func Fixed(size int) Framing {
	return func(s *Stream) Framer {
		return &counted{max: s.MaxRecord, header: func([]byte) (int, int64, error) {
			if size < 1 {
				return 0, 0, errMalformed
			}
			return 0, int64(size), nil
		}}
	}
}

// counted is a framing whose header contains the length of the payload that follows.
type counted struct {
	max    int
	header func(data []byte) (size int, length int64, err error)
	left   int64 // bytes of an overlong frame that are still to come
}

// maxDigits is how many digits a length may have: 999,999,999 is far over every limit.
const maxDigits = 9

// errShort: the header is not complete.
var errShort = errors.New("ingest: incomplete frame header")

func (f *counted) Next(data []byte, eof bool) (int, []byte, error) {
	if f.skipping() {
		return f.skip(data, eof)
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
	case length > int64(f.max):
		n := int(min(length, int64(len(data)-size)))
		f.left = length - int64(n)
		return size + n, nil, &LostFrame{Cause: segment.FrameTooLong, Bytes: uint64(n)}
	case int64(len(data)-size) >= length:
		end := size + int(length)
		return end, data[size:end], nil
	case eof: // half a message must not pass for a message
		return len(data), nil, &LostFrame{Cause: segment.Malformed, Bytes: uint64(len(data) - size)}
	}
	return 0, nil, nil
}

func (f *counted) skipping() bool { return f.left > 0 }

// skip passes over the bytes of an overlong frame that have arrived.
func (f *counted) skip(data []byte, eof bool) (int, []byte, error) {
	n := int(min(f.left, int64(len(data))))
	f.left -= int64(n)
	if eof {
		f.left = 0
	}
	if n == 0 {
		return 0, nil, nil
	}
	return n, nil, &LostFrame{Cause: segment.FrameTooLong, Bytes: uint64(n), Rest: true}
}

func octetHeader(data []byte) (size int, length int64, err error) {
	for i, c := range data {
		switch {
		case c >= '0' && c <= '9' && i < maxDigits && (c > '0' || i > 0):
			length = length*10 + int64(c-'0')
		case c == ' ' && i > 0:
			return i + 1, length, nil
		default:
			return 0, 0, errMalformed
		}
	}
	return 0, 0, errShort
}

func len16Header(data []byte) (size int, length int64, err error) {
	if len(data) < 2 {
		return 0, 0, errShort
	}
	return 2, int64(binary.BigEndian.Uint16(data)), nil
}

func len32Header(data []byte) (size int, length int64, err error) {
	if len(data) < 4 {
		return 0, 0, errShort
	}
	return 4, int64(binary.BigEndian.Uint32(data)), nil // more than an int of a 32-bit system
}

// Auto chooses the framing of each frame. A frame that begins with digits and a space is cut as by OctetCounting, any
// other as by Newline. Syslog messages are never ambiguous, since they begin with "<" (RFC 6587 §3.4). A number over the
// limit does not count as a length, since such a frame could not be kept: so a line that begins with a date, as in
// "20261128 10:00:00", is a line. Senders of lines that begin with a smaller number and a space need Newline. Senders of
// frames over the limit need OctetCounting or a larger TCPOptions.MaxRecord: otherwise each line in such a frame becomes
// a record.
func Auto(s *Stream) Framer {
	return &auto{line: newline{max: s.MaxRecord}, count: counted{max: s.MaxRecord, header: octetHeader}}
}

type auto struct {
	line  newline
	count counted
}

func (f *auto) Next(data []byte, eof bool) (int, []byte, error) {
	switch {
	case f.count.skipping():
		return f.count.Next(data, eof)
	case f.line.inLine() || len(data) == 0:
		return f.line.Next(data, eof)
	}
	switch _, length, err := octetHeader(data); {
	case err == nil && length <= int64(f.count.max):
		return f.count.Next(data, eof)
	case err == errShort && !eof:
		return 0, nil, nil
	}
	return f.line.Next(data, eof)
}
