package fluentforward

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/penstock-go/penstock/ingest/internal/jsonstring"
)

var (
	errFormat = errors.New("fluentforward: no MessagePack")
	errKey    = errors.New("fluentforward: the key of a map is an array or a map")
	errDeep   = errors.New("fluentforward: values are nested too deeply")
	errLong   = errors.New("fluentforward: the JSON of an event is over the limit (TCPOptions.MaxRecord)")
)

// maxDepth is how deeply values may be nested.
const maxDepth = 100

// kind is the type of a MessagePack value.
type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindInt
	kindUint
	kindFloat
	kindString
	kindBinary
	kindArray
	kindMap
	kindExt
)

// header is the front of a value.
type header struct {
	kind   kind
	size   int    // of the header; the payload or the elements follow
	length int    // bytes of the payload, or the number of elements
	bits   uint64 // of a number or a bool
	ext    int8
}

// elements returns how many values follow as part of this one.
func (h *header) elements() int {
	switch h.kind {
	case kindArray:
		return h.length
	case kindMap:
		return 2 * h.length
	}
	return 0
}

// payload returns how many bytes after the header belong to this value itself, not to an element.
func (h *header) payload() int {
	if h.kind == kindString || h.kind == kindBinary || h.kind == kindExt {
		return h.length
	}
	return 0
}

// maxLength keeps sums of lengths far from an overflow, on 32-bit systems too.
const maxLength = 1 << 28

// parse reads a header; size is 0 if more bytes are needed.
func parse(b []byte) (h header, err error) {
	if len(b) == 0 {
		return h, nil
	}
	c := b[0]
	switch {
	case c < 0x80:
		return header{kind: kindUint, size: 1, bits: uint64(c)}, nil
	case c < 0x90:
		return header{kind: kindMap, size: 1, length: int(c & 0xf)}, nil
	case c < 0xa0:
		return header{kind: kindArray, size: 1, length: int(c & 0xf)}, nil
	case c < 0xc0:
		return header{kind: kindString, size: 1, length: int(c & 0x1f)}, nil
	case c >= 0xe0:
		return header{kind: kindInt, size: 1, bits: uint64(int64(int8(c)))}, nil
	case c == 0xc1:
		return h, errFormat
	}
	f := formats[c-0xc0]
	if len(b) < 1+int(f.width) {
		return h, nil
	}
	var v uint64
	for _, x := range b[1 : 1+f.width] {
		v = v<<8 | uint64(x)
	}
	h = header{kind: f.kind, size: 1 + int(f.width), bits: v}
	switch f.kind {
	case kindBool:
		h.bits = uint64(c & 1)
	case kindInt: // the sign bit depends on the width
		shift := 64 - 8*f.width
		h.bits = uint64(int64(v<<shift) >> shift)
	case kindFloat:
		if f.width == 4 {
			h.bits = math.Float64bits(float64(math.Float32frombits(uint32(v))))
		}
	case kindString, kindBinary, kindArray, kindMap, kindExt:
		if f.fixed > 0 {
			v = uint64(f.fixed)
		}
		if v > maxLength {
			return header{}, errFormat
		}
		h.length = int(v)
	}
	if f.kind == kindExt {
		if len(b) <= h.size {
			return header{}, nil
		}
		h.ext = int8(b[h.size])
		h.size++
	}
	return h, nil
}

// formats describes the formats from 0xc0 to 0xdf: the kind, the bytes of the number that follows, and the length if it
// is fixed.
var formats = [32]struct {
	kind         kind
	width, fixed uint8
}{
	{kindNil, 0, 0},
	{},
	{kindBool, 0, 0},
	{kindBool, 0, 0},
	{kindBinary, 1, 0},
	{kindBinary, 2, 0},
	{kindBinary, 4, 0},
	{kindExt, 1, 0},
	{kindExt, 2, 0},
	{kindExt, 4, 0},
	{kindFloat, 4, 0},
	{kindFloat, 8, 0},
	{kindUint, 1, 0},
	{kindUint, 2, 0},
	{kindUint, 4, 0},
	{kindUint, 8, 0},
	{kindInt, 1, 0},
	{kindInt, 2, 0},
	{kindInt, 4, 0},
	{kindInt, 8, 0},
	{kindExt, 0, 1},
	{kindExt, 0, 2},
	{kindExt, 0, 4},
	{kindExt, 0, 8},
	{kindExt, 0, 16},
	{kindString, 1, 0},
	{kindString, 2, 0},
	{kindString, 4, 0},
	{kindArray, 2, 0},
	{kindArray, 4, 0},
	{kindMap, 2, 0},
	{kindMap, 4, 0},
}

// scanner finds the end of a value that arrives in pieces. It looks at every byte once.
type scanner struct {
	at      int // bytes scanned so far
	pending int // values that are still to come; 0 before the first
}

// scan returns the length of the value at the front of b, 0 if it is not complete.
func (s *scanner) scan(b []byte) (n int, err error) {
	if s.pending == 0 {
		s.at, s.pending = 0, 1
	}
	for s.pending > 0 {
		h, err := parse(b[s.at:])
		if err != nil {
			return 0, err
		}
		end := s.at + h.size + h.payload()
		if h.size == 0 || end > len(b) {
			return 0, nil
		}
		s.at = end
		if s.pending += h.elements() - 1; s.pending > maxLength {
			return 0, errFormat
		}
	}
	return s.at, nil
}

// split cuts a complete value off the front of b.
func split(b []byte) (value, rest []byte, err error) {
	var s scanner
	n, err := s.scan(b)
	if err == nil && n == 0 {
		err = errFormat
	}
	return b[:n], b[n:], err
}

// text returns the payload of a complete string or binary value.
func text(b []byte) ([]byte, bool) {
	h, err := parse(b)
	if err != nil || h.kind != kindString && h.kind != kindBinary || len(b) < h.size+h.length {
		return nil, false
	}
	return b[h.size : h.size+h.length], true
}

// appendJSON appends the complete value at the front of b as JSON, and returns the bytes after the value. It stops soon
// after dst is longer than limit, since JSON may have many times the bytes of the value, and a value many times its
// compressed bytes.
func appendJSON(dst, b []byte, depth, limit int) (out, rest []byte, err error) {
	h, err := parse(b)
	if err != nil {
		return dst, nil, err
	}
	if h.size == 0 || len(b) < h.size+h.payload() {
		return dst, nil, errFormat
	}
	if depth > maxDepth {
		return dst, nil, errDeep
	}
	payload := b[h.size : h.size+h.payload()]
	if len(dst)+len(payload) > limit {
		return dst, nil, errLong
	}
	rest = b[h.size+h.payload():]
	switch h.kind {
	case kindNil:
		return append(dst, "null"...), rest, nil
	case kindBool:
		return strconv.AppendBool(dst, h.bits == 1), rest, nil
	case kindInt:
		return strconv.AppendInt(dst, int64(h.bits), 10), rest, nil
	case kindUint:
		return strconv.AppendUint(dst, h.bits, 10), rest, nil
	case kindFloat:
		return appendFloat(dst, math.Float64frombits(h.bits)), rest, nil
	case kindString:
		return jsonstring.Append(dst, payload, limit), rest, nil
	case kindBinary:
		if utf8.Valid(payload) {
			return jsonstring.Append(dst, payload, limit), rest, nil
		}
		return appendBase64(dst, payload), rest, nil
	case kindExt:
		if t, ok := eventTime(&h, payload); ok {
			return appendTime(dst, t), rest, nil
		}
		return appendBase64(dst, payload), rest, nil
	case kindArray:
		dst = append(dst, '[')
		for i := range h.length {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, rest, err = appendJSON(dst, rest, depth+1, limit); err != nil {
				return dst, nil, err
			}
		}
		return append(dst, ']'), rest, nil
	}
	return appendMap(dst, rest, h.length, depth, limit)
}

func appendMap(dst, rest []byte, n, depth, limit int) (out, after []byte, err error) {
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		// A key that is an array or a map would be escaped again at every level, and grow without bound.
		if h, err := parse(rest); err != nil || h.elements() > 0 {
			return dst, nil, errKey
		}
		from := len(dst)
		if dst, rest, err = appendJSON(dst, rest, depth+1, limit); err != nil {
			return dst, nil, err
		}
		if dst[from] != '"' { // the key is not a string
			key := string(dst[from:])
			dst = jsonstring.Append(dst[:from], []byte(key), limit)
		}
		dst = append(dst, ':')
		if dst, rest, err = appendJSON(dst, rest, depth+1, limit); err != nil {
			return dst, nil, err
		}
	}
	return append(dst, '}'), rest, nil
}

func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(dst, strconv.FormatFloat(f, 'g', -1, 64))
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

func appendBase64(dst, b []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
}

func appendTime(dst []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
}

// eventTime reads the extension type 0: seconds and nanoseconds.
func eventTime(h *header, payload []byte) (time.Time, bool) {
	if h.kind != kindExt || h.ext != 0 || h.length != 8 {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint32(payload)), int64(binary.BigEndian.Uint32(payload[4:]))), true
}
