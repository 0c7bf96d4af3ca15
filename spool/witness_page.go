package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// notePage encodes a page of the witness: the same bytes as statefile.Seal, but without its allocations, since a busy spool
// writes a hundred notes a second.
//
// The invariant: fixed is the middle of the note, which is the same for all notes of a segment, or nil.
type notePage struct {
	buf   [witnessPage]byte
	fixed []byte
}

// The members before and after the fixed ones. No string value can contain these texts, because JSON escapes line ends.
var (
	beforeFixed = []byte(",\n  \"spool\": ")
	behindFixed = []byte(",\n  \"end\": ")
)

var errLongNote = errors.New("spool: note of the newest segment is too long")

// fix sets p.fixed to the encoded members of b that do not change during its segment.
func (p *notePage) fix(b begun) error {
	js, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	from, to := bytes.Index(js, beforeFixed), bytes.LastIndex(js, behindFixed)
	if len(js)-len("\n}")+len(",\n")+statefile.SealSize > witnessPage-longerNumbers {
		return errLongNote
	}
	p.fixed = js[from:to]
	return nil
}

// longerNumbers is by how much two notes of a segment can differ in length: four numbers of up to 20 digits, and
// the member "ended".
const longerNumbers = 4*20 + len(",\n  \"ended\": true")

// encode returns the page for b, which is valid until the next call.
func (p *notePage) encode(b *begun) ([]byte, error) {
	if p.fixed == nil {
		if err := p.fix(*b); err != nil {
			return nil, err
		}
	}
	js := append(p.buf[:0], "{\n  \"version\": "...)
	js = strconv.AppendInt(js, int64(b.Version), 10)
	js = append(js, ",\n  \"turn\": "...)
	js = strconv.AppendUint(js, b.Turn, 10)
	js = append(js, p.fixed...)
	js = append(js, behindFixed...)
	js = strconv.AppendInt(js, b.End, 10)
	js = append(js, ",\n  \"next\": "...)
	js = strconv.AppendUint(js, b.Next, 10)
	js = append(js, ",\n  \"bytes\": "...)
	js = strconv.AppendUint(js, b.Bytes, 10)
	if b.Ended {
		js = append(js, ",\n  \"ended\": true"...)
	}
	js = append(js, ",\n"...)
	crc := statefile.Checksum(js)
	js = append(js, "  \"crc32c\": \""...)
	for shift := 28; shift >= 0; shift -= 4 {
		js = append(js, "0123456789abcdef"[crc>>shift&15])
	}
	js = append(js, "\"\n}\n"...)
	clear(p.buf[len(js):])
	return p.buf[:], nil
}
