package format

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/penstock-go/penstock/spool/segment"
)

// NDJSON is the name of the default format: one JSON object (RFC 8259) a line, its members always in this order:
//
//	{"seq":17,"ts":"2026-11-22T08:00:00.000000001Z","src":"192.0.2.7:514","data":"the payload","spool":"4k7q…"}
//	{"seq":18,"ts":"2026-11-22T08:00:00.000000002Z","src":"192.0.2.7:514","attrs":{"listener":"vpn"},"data":"…","spool":"4k7q…"}
//
// seq is a number; ts is RFC 3339 in UTC with nine digits of a second; src is "" for a record without a source, so that the
// column is a string everywhere. attrs has the attributes of a record, all of them strings, in the order of their keys; only
// a record with attributes has it. A payload that is not valid UTF-8 has, in the place of data, data_b64 with its bytes in
// base64 (RFC 4648, section 4): decoding returns every payload byte for byte. spool is the id under which the record was
// kept, the same in all lines of an object: seq is unique within one spool only; spool and seq together are unique
// everywhere.
const NDJSON = "ndjson"

var ndjsonFormat = &Format{
	Name: NDJSON, Ext: ".ndjson", ContentType: "application/x-ndjson", Canonical: true,
	Write: func(src *segment.Reader) (Writer, error) { return newNDJSONWriter(src.Header().Spool), nil },
	Read:  newNDJSONReader,
	Most:  func(records, bytes uint64) int64 { return int64(bytes*ndjsonPerByte + records*ndjsonAround) },
}

// The most bytes that NDJSON writes for each byte of a payload, and the most around it. In attributes only quotes and
// backslashes need an escape, and each pair takes three more bytes.
const ndjsonPerByte, ndjsonAround = 6, 256 + 2*segment.MaxAttrsSize + 16

// ndjsonWriter writes NDJSON. It is written by hand, since each byte of traffic passes through here: per record it allocates
// nothing and calls no encoder.
type ndjsonWriter struct {
	tail      []byte // of every line, from the end of the payload on
	second    int64  // that stamp begins with, once stamp is set
	stamp     []byte
	src       netip.AddrPort // whose text is in srcText
	srcText   []byte
	srcCached bool
	attrs     *segment.Attrs // whose member is in attrsText
	attrsText []byte
}

// NewNDJSONWriter returns a Writer of NDJSON for records that were kept under a spool id, from any segments.
func NewNDJSONWriter(spool string) Writer { return newNDJSONWriter(spool) }

// newNDJSONWriter returns the writer of records that were kept under a spool id.
func newNDJSONWriter(spool string) *ndjsonWriter {
	return &ndjsonWriter{tail: []byte(spoolMember + spool + lineEnd)}
}

// The text that follows a payload in its line, around the spool id.
const spoolMember, lineEnd = `","spool":"`, "\"}\n"

func (f *ndjsonWriter) Record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error) {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"ts":"`...)
	dst = f.appendTime(dst, rec.Time)
	dst = append(dst, `","src":"`...)
	dst = f.appendSource(dst, rec.Src)
	data, inBase64 := `","data":"`, `","data_b64":"`
	if rec.Attrs.Size() > 0 {
		dst = f.appendAttrs(dst, rec.Attrs)
		data, inBase64 = data[1:], inBase64[1:] // there is no quote to close
	}
	start := len(dst)
	dst = append(dst, data...)
	dst, ok := appendText(dst, rec.Data)
	if !ok {
		dst = append(dst[:start], inBase64...)
		dst = base64.StdEncoding.AppendEncode(dst, rec.Data)
	}
	return append(dst, f.tail...), nil
}

func (f *ndjsonWriter) Finish(dst []byte, _ uint64) ([]byte, error) { return dst, nil }

// appendTime appends Unix nanoseconds as RFC 3339, which can express all of their range, the years 1677 to 2262.
func (f *ndjsonWriter) appendTime(dst []byte, t int64) []byte {
	second, nano := t/1e9, t%1e9
	if nano < 0 {
		second, nano = second-1, nano+1e9
	}
	if f.stamp == nil || second != f.second {
		f.second = second
		f.stamp = time.Unix(second, 0).UTC().AppendFormat(f.stamp[:0], "2006-01-02T15:04:05.")
	}
	dst = append(dst, f.stamp...)
	n := len(dst)
	dst = append(dst, "000000000Z"...)
	for i := n + 8; nano > 0; i-- {
		dst[i] = byte('0' + nano%10)
		nano /= 10
	}
	return dst
}

// appendSource appends an address and port as netip prints them, nothing for an invalid one. The text needs no escapes, since
// a spool stores no zones.
func (f *ndjsonWriter) appendSource(dst []byte, src netip.AddrPort) []byte {
	if !f.srcCached || src != f.src {
		f.src, f.srcCached = src, true
		f.srcText = f.srcText[:0]
		if src.Addr().IsValid() {
			f.srcText = netip.AddrPortFrom(src.Addr().WithZone(""), src.Port()).AppendTo(f.srcText)
		}
	}
	return append(dst, f.srcText...)
}

// appendAttrs closes the source and appends the member attrs.
func (f *ndjsonWriter) appendAttrs(dst []byte, a *segment.Attrs) []byte {
	if !a.Equal(f.attrs) {
		f.attrs, f.attrsText = a, append(f.attrsText[:0], `","attrs":`...)
		open := byte('{')
		for key, value := range a.All() {
			f.attrsText = append(f.attrsText, open, '"')
			f.attrsText = append(append(f.attrsText, key...), `":"`...)
			f.attrsText, _ = appendText(f.attrsText, []byte(value))
			f.attrsText = append(f.attrsText, '"')
			open = ','
		}
		f.attrsText = append(f.attrsText, '}')
	}
	return append(dst, f.attrsText...)
}

// escapeWord has the bytes that are written for each byte, up to six in a word, and escapeLen their number. Quotes,
// backslashes and control characters are escaped, as RFC 8259, section 7, requires; every other byte is written as it is.
var (
	escapeWord [256]uint64
	escapeLen  [256]uint8
)

func init() {
	for i := range 256 {
		s := string([]byte{byte(i)})
		if short := map[byte]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}[byte(i)]; short != "" {
			s = short
		} else if i < 0x20 {
			s = `\u00` + string("01"[i>>4]) + string("0123456789abcdef"[i&15])
		}
		var word [8]byte
		escapeLen[i] = uint8(copy(word[:], s))
		escapeWord[i] = binary.LittleEndian.Uint64(word[:])
	}
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
	// textChunk is how much is escaped at a time: room for the worst case is reserved first.
	textChunk = 4096
)

// appendText appends p as the inside of a JSON string; false, with dst in any state, if it is not valid UTF-8.
func appendText(dst, p []byte) ([]byte, bool) {
	stop := uint64(highs) // stop at any byte that is not ASCII, until the rest is known to be valid
	for len(p) > 0 {
		n := min(len(p), textChunk)
		dst = slices.Grow(dst, 6*n+8)
		var done int
		dst, done = escape(dst, p[:n], stop)
		p = p[done:]
		if done < n {
			if !utf8.Valid(p) {
				return dst, false
			}
			stop = 0
		}
	}
	return dst, true
}

// marks returns a word with the high bit set for each byte of x that is a control character, a quote or a backslash, or that
// is not ASCII if stop has the high bit there. In each byte the high bit of ((b ^ 2) − 0x21) is set for control characters
// and for the quote, which ^ 2 moves next to them, and that of ((b ^ '\\') − 1) for the backslash. A borrow can set it
// falsely only after a byte that is one.
func marks(x, stop uint64) uint64 {
	return ((((x^lows*2)-lows*0x21)|((x^lows*'\\')-lows))&^x | x&stop) & highs
}

// escape appends p to dst, which has room for 6 × len(p) + 8 bytes, up to the first byte whose high bit is also set in stop,
// and returns how many bytes it has appended. It stores two words of eight bytes as they are, and counts them up to the first
// byte that needs an escape. It finds that word without a branch, which could not be predicted.
func escape(dst, p []byte, stop uint64) ([]byte, int) {
	out := dst[:cap(dst)]
	n, i := len(dst), 0
	for len(p)-i >= 16 {
		from, to := p[i:i+16], out[n:n+16]
		x, y := binary.LittleEndian.Uint64(from), binary.LittleEndian.Uint64(from[8:])
		binary.LittleEndian.PutUint64(to, x)
		binary.LittleEndian.PutUint64(to[8:], y)
		first, second := marks(x, stop), marks(y, stop)
		if first|second == 0 {
			n, i = n+16, i+16
			continue
		}
		k := bits.TrailingZeros64(first) / 8 // 8 if there is none
		if first == 0 {
			k += bits.TrailingZeros64(second) / 8
		}
		n, i = n+k, i+k
		c := p[i]
		if c >= utf8.RuneSelf {
			return out[:n], i
		}
		binary.LittleEndian.PutUint64(out[n:], escapeWord[c])
		n, i = n+int(escapeLen[c]), i+1
	}
	if len(p)-i >= 8 {
		x := binary.LittleEndian.Uint64(p[i:])
		binary.LittleEndian.PutUint64(out[n:], x)
		if marks(x, stop) == 0 {
			n, i = n+8, i+8
		}
	}
	for ; i < len(p); i++ {
		c := p[i]
		if c >= utf8.RuneSelf && stop != 0 {
			return out[:n], i
		}
		binary.LittleEndian.PutUint64(out[n:], escapeWord[c])
		n += int(escapeLen[c])
	}
	return out[:n], i
}
