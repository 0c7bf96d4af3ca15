package format

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"net/netip"
	"strconv"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// ndjsonReader reads NDJSON. It parses a line loosely, encodes the record again, and accepts the line if that gives the same
// bytes. So it accepts only what the encoder would write, and no rule is implemented twice.
type ndjsonReader struct {
	lines  lineReader
	last   uint64 // sequence number
	spool  string // of the first line
	again  *ndjsonWriter
	rec    segment.Record // the last one
	buf    []byte         // the line as the encoder writes it
	data   []byte
	second int64 // of stamp
	stamp  []byte
	src    netip.AddrPort // of srcText
	srcRaw []byte
	attrs  *segment.Attrs // of attrsRaw
	// attrsRaw is the inside of the object attrs, and its end.
	attrsRaw []byte
}

func newNDJSONReader(r io.Reader) (Reader, error) {
	return &ndjsonReader{lines: lineReader{r: bufio.NewReaderSize(r, chunk), most: ndjsonPerByte*segment.MaxRecord + ndjsonAround}}, nil
}

func (d *ndjsonReader) Close() error  { return nil }
func (d *ndjsonReader) Spool() string { return d.spool }

func (d *ndjsonReader) Next() (uint64, segment.Record, error) {
	line, err := d.lines.next()
	if err != nil {
		return 0, segment.Record{}, err
	}
	record, ok := d.cutSpool(line)
	if !ok {
		return 0, segment.Record{}, d.lines.fail("no spool id at the end of the line, or not that of the first line")
	}
	seq, rec, ok := d.parse(record)
	if !ok || len(rec.Data) > segment.MaxRecord {
		return 0, segment.Record{}, d.lines.fail("no record")
	}
	d.rec = rec
	if d.buf, err = d.again.Record(d.buf[:0], seq, &d.rec); err != nil || !bytes.Equal(d.buf, line) {
		return 0, segment.Record{}, d.lines.fail("not as this package writes records")
	}
	if seq <= d.last {
		return 0, segment.Record{}, d.lines.fail("sequence number " + strconv.FormatUint(seq, 10) + " is not above the previous one, " + strconv.FormatUint(d.last, 10))
	}
	d.last = seq
	return seq, rec, nil
}

// cutSpool cuts the spool id off the end of a line. The first line says which one the others must have.
func (d *ndjsonReader) cutSpool(line []byte) (record []byte, ok bool) {
	if d.again == nil {
		id := line[max(0, len(line)-len(lineEnd)-segment.SpoolIDLen):]
		id = bytes.TrimSuffix(id, []byte(lineEnd))
		if segment.CheckSpoolID(id) != nil {
			return nil, false
		}
		d.spool = string(id)
		d.again = newNDJSONWriter(d.spool)
	}
	return bytes.CutSuffix(line, d.again.tail)
}

// parse parses a record as cutSpool returns it; ok is false if it does not look like one.
func (d *ndjsonReader) parse(line []byte) (seq uint64, rec segment.Record, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	if !ok {
		return 0, rec, false
	}
	number, rest, ok := bytes.Cut(rest, []byte(`,"ts":"`))
	if !ok || len(number) > 20 {
		return 0, rec, false
	}
	seq, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return 0, rec, false
	}
	stamp, rest, ok := bytes.Cut(rest, []byte(`","src":"`))
	if !ok || !d.parseTime(stamp, &rec.Time) {
		return 0, rec, false
	}
	src, rest, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || !d.parseSource(src, &rec.Src) {
		return 0, rec, false
	}
	if inside, has := bytes.CutPrefix(rest, []byte(`,"attrs":{`)); has {
		if rec.Attrs, rest, ok = d.parseAttrs(inside); !ok {
			return 0, rec, false
		}
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"data`)); !ok {
		return 0, rec, false
	}
	if text, ok := bytes.CutPrefix(rest, []byte(`":"`)); ok {
		rec.Data, ok = d.unescape(text)
		return seq, rec, ok
	}
	if text, ok := bytes.CutPrefix(rest, []byte(`_b64":"`)); ok {
		d.data, err = base64.StdEncoding.Strict().AppendDecode(d.data[:0], text)
		rec.Data = d.data
		return seq, rec, err == nil
	}
	return 0, rec, false
}

func (d *ndjsonReader) parseTime(b []byte, t *int64) bool {
	const second = len("2006-01-02T15:04:05.")
	if len(b) != second+len("000000000Z") {
		return false
	}
	if !bytes.Equal(b[:second], d.stamp) {
		at, err := time.Parse("2006-01-02T15:04:05.", string(b[:second]))
		if err != nil {
			return false
		}
		d.second, d.stamp = at.Unix(), append(d.stamp[:0], b[:second]...)
	}
	nano, err := strconv.ParseUint(string(b[second:second+9]), 10, 32)
	// A time that int64 nanoseconds cannot hold becomes another one, which is then not encoded to the same bytes.
	*t = d.second*1e9 + int64(nano)
	return err == nil
}

func (d *ndjsonReader) parseSource(b []byte, src *netip.AddrPort) bool {
	if len(b) > 0 && !bytes.Equal(b, d.srcRaw) {
		if len(b) > 64 { // longer than any address with a port
			return false
		}
		parsed, err := netip.ParseAddrPort(string(b))
		if err != nil {
			return false
		}
		d.src, d.srcRaw = parsed, append(d.srcRaw[:0], b...)
	}
	if len(b) > 0 {
		*src = d.src
	}
	return true
}

// parseAttrs parses the attributes at the start of b, which begins after the opening brace.
func (d *ndjsonReader) parseAttrs(b []byte) (a *segment.Attrs, rest []byte, ok bool) {
	if d.attrs != nil && bytes.HasPrefix(b, d.attrsRaw) {
		return d.attrs, b[len(d.attrsRaw):], true
	}
	pairs := make(map[string]string)
	for rest = b; len(pairs) < segment.MaxAttrs; {
		key, after, ok := cutString(rest)
		if !ok || len(after) == 0 || after[0] != ':' {
			return nil, nil, false
		}
		value, after, ok := cutString(after[1:])
		if !ok || len(after) == 0 {
			return nil, nil, false
		}
		if value, ok = d.unescape(value); !ok {
			return nil, nil, false
		}
		pairs[string(key)] = string(value)
		rest = after[1:]
		switch after[0] {
		case ',':
			continue
		case '}':
			if a, err := segment.NewAttrs(pairs); err == nil {
				d.attrs, d.attrsRaw = a, append(d.attrsRaw[:0], b[:len(b)-len(rest)]...)
				return a, rest, true
			}
		}
		break
	}
	return nil, nil, false
}

// cutString cuts a JSON string off the start of b, and returns its inside as it is.
func cutString(b []byte) (inside, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[1:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// unescape returns the payload that the inside of a string encodes. Without an escape, that is b itself.
func (d *ndjsonReader) unescape(b []byte) ([]byte, bool) {
	i := bytes.IndexByte(b, '\\')
	if i < 0 {
		return b, true
	}
	d.data = d.data[:0]
	for ; i >= 0; i = bytes.IndexByte(b, '\\') {
		d.data = append(d.data, b[:i]...)
		if b = b[i+1:]; len(b) == 0 {
			return nil, false
		}
		c := b[0]
		b = b[1:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			if len(b) < 4 {
				return nil, false
			}
			v, err := strconv.ParseUint(string(b[:4]), 16, 8)
			if err != nil {
				return nil, false
			}
			c, b = byte(v), b[4:]
		}
		d.data = append(d.data, c)
	}
	d.data = append(d.data, b...)
	return d.data, true
}
