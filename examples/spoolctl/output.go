package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock-go/penstock/examples/internal/bar"
	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/segment"
)

// The forms in which records are written.
const (
	formNDJSON = "ndjson" // as delivered
	formRaw    = "raw"    // the payload and a newline
	formText   = "text"   // number, time, source, and the payload with escapes
)

// recordWriter writes records to stdout. To a terminal it writes nothing that could control it.
type recordWriter struct {
	w      *bufio.Writer
	form   string
	ndjson format.Writer
	safe   bool
	buf    []byte
}

func newRecordWriter(w io.Writer, form, spool string, binary bool) (*recordWriter, error) {
	r := &recordWriter{w: bufio.NewWriterSize(w, 64<<10), form: form, safe: bar.IsTerminal(w) && !binary}
	switch form {
	case formNDJSON:
		r.ndjson = format.NewNDJSONWriter(spool)
	case formRaw, formText:
	default:
		return nil, fmt.Errorf("%w: -format %q: use ndjson, raw or text", errUsage, form)
	}
	return r, nil
}

func (r *recordWriter) write(seq uint64, rec *segment.Record) (err error) {
	b := r.buf[:0]
	switch r.form {
	case formNDJSON:
		if b, err = r.ndjson.Record(b, seq, rec); err != nil {
			return err
		}
		if r.safe {
			b = terminal.EscapeJSON(b)
		}
	case formRaw:
		if r.safe {
			b = appendEscaped(b, rec.Data)
		} else {
			b = append(b, rec.Data...)
		}
		if n := len(rec.Data); n == 0 || rec.Data[n-1] != '\n' || r.safe {
			b = append(b, '\n')
		}
	case formText:
		b = strconv.AppendUint(b, seq, 10)
		b = append(b, ' ')
		b = time.Unix(0, rec.Time).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00 ")
		if rec.Src.Addr().IsValid() {
			b = rec.Src.AppendTo(b)
		} else {
			b = append(b, '-')
		}
		b = append(b, ' ')
		b = append(appendEscaped(b, rec.Data), '\n')
	}
	if cap(b) <= 1<<20 {
		r.buf = b
	}
	_, err = r.w.Write(b)
	return err
}

func (r *recordWriter) flush() error { return r.w.Flush() }

// appendEscaped appends text, with everything that is not printable escaped as in a Go string. Backslashes are doubled, so that
// the result is unambiguous.
func appendEscaped(dst, text []byte) []byte {
	for len(text) > 0 {
		c, n := utf8.DecodeRune(text)
		switch {
		case c == '\\':
			dst = append(dst, `\\`...)
		case c == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\x%02x`, text[0])
		case unicode.IsPrint(c):
			dst = append(dst, text[:n]...)
		default:
			q := strconv.AppendQuoteRuneToASCII(nil, c)
			dst = append(dst, q[1:len(q)-1]...)
		}
		text = text[n:]
	}
	return dst
}

// writeJSONLine writes a value as one line.
func writeJSONLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(append(terminal.EscapeJSON(b), '\n'))
	}
	return err
}
