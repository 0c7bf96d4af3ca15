package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/segment"
)

// stored is an object at a place, and the line that says what is in it.
type stored struct {
	p    *place
	line *ship.SegmentLine
}

// comparedAtOnce bounds how many records are compared in one pass, and so the memory: 9 bytes each.
const comparedAtOnce = 4 << 20

// maxCompared bounds a range, and so how often an object is read. No segment has more records.
const maxCompared = 64 * comparedAtOnce

// unfound looks in other objects for each record of a range of an object, with the same number, time, source, attributes and payload. lost is the
// first run of records that none of them has; all reports whether the object itself has all records of the range. Records that were damaged
// before it or one of the others was delivered are not looked for: a line that names them is reported as RecordsDamaged. needAll: if the
// object itself lacks a record, nothing else matters, and unfound does not go on. A name may promise many more records than there are.
func (s stored) unfound(ctx context.Context, first, last uint64, others []stored, needAll bool) (lost seqRange, all bool, err error) {
	all = true
	if last-first >= maxCompared {
		return lost, false, fmt.Errorf("%d records are too many to be compared: %w", last-first, errNotUnderstood)
	}
	plain := isPlain(s.p.o.Extra, s.line) || slices.ContainsFunc(others, func(o stored) bool { return isPlain(o.p.o.Extra, o.line) })
	for from := first; from <= last; from += comparedAtOnce {
		c := comparison{seed: maphash.MakeSeed(), plain: plain, seqRange: seqRange{from, min(last, from+comparedAtOnce-1)}}
		c.want = make([]uint64, c.last-c.first+1)
		c.done = make([]bool, len(c.want))
		if err := s.each(ctx, c.last, c.note); err != nil {
			return lost, false, err
		}
		for _, o := range append([]stored{s}, others...) {
			for _, g := range o.line.Gaps {
				c.skip(g)
			}
		}
		if _, whole := c.lost(); needAll && !whole {
			return seqRange{}, false, nil
		}
		for _, o := range others {
			if o.line.First > c.last || o.line.Last < c.first {
				continue
			}
			if err := o.each(ctx, c.last, c.look); err != nil {
				return lost, false, err
			}
		}
		lost, whole := c.lost()
		if all = all && whole; lost.last > 0 {
			return lost, all, nil
		}
	}
	return seqRange{}, all, nil
}

// comparison holds the hashes of the records that are looked for.
type comparison struct {
	seed  maphash.Seed
	plain bool // one of the objects has only payloads
	seqRange
	want []uint64 // by sequence number; 0 for none
	done []bool   // found, or not looked for
}

func (c *comparison) note(seq uint64, rec segment.Record) {
	if seq >= c.first && seq <= c.last {
		c.want[seq-c.first] = c.hash(&rec)
	}
}

func (c *comparison) look(seq uint64, rec segment.Record) {
	if seq >= c.first && seq <= c.last && c.want[seq-c.first] == c.hash(&rec) {
		c.done[seq-c.first] = true
	}
}

func (c *comparison) skip(g segment.Range) {
	for seq := max(g.First, c.first); seq <= min(g.Last, c.last); seq++ {
		c.done[seq-c.first] = true
	}
}

// hash is equal for equal records. If one of the objects has only payloads, only those are hashed, without the newline at the end that
// Lines cannot show.
func (c *comparison) hash(rec *segment.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	data := rec.Data
	if c.plain {
		data = bytes.TrimSuffix(data, []byte("\n"))
	} else {
		var b [27]byte
		binary.BigEndian.PutUint64(b[:], uint64(rec.Time))
		if rec.Src.IsValid() {
			b[8] = 1
			addr := rec.Src.Addr().As16()
			copy(b[9:], addr[:])
			binary.BigEndian.PutUint16(b[25:], rec.Src.Port())
		}
		_, _ = h.Write(b[:])
		for key, value := range rec.Attrs.All() { // neither has a control character
			_, _ = h.WriteString(key)
			_ = h.WriteByte(0)
			_, _ = h.WriteString(value)
			_ = h.WriteByte(0)
		}
		_ = h.WriteByte(0) // no key is empty, so a payload cannot pass for an attribute
	}
	_, _ = h.Write(data)
	return max(1, h.Sum64())
}

func (c *comparison) lost() (lost seqRange, all bool) {
	all = true
	for i, w := range c.want {
		seq := c.first + uint64(i)
		switch {
		case c.done[i]:
		case w == 0:
			all = false
		case lost.last == 0:
			lost = seqRange{seq, seq}
		case lost.last == seq-1:
			lost.last = seq
		}
	}
	return lost, all
}

// each reads the object's records up to last.
func (s stored) each(ctx context.Context, last uint64, f func(seq uint64, rec segment.Record)) error {
	var content error
	err := s.p.requestOf(ctx, s.line.Key, func(ctx context.Context) error {
		body, err := s.p.dest.Open(ctx, s.line.Key)
		if err != nil {
			return err
		}
		defer body.Close()
		src := &source{r: io.LimitReader(body, s.line.Receipt.Size+1), progress: s.p.o.Progress}
		content = s.p.eachRecord(ctx, src, s.line, last, f)
		return src.err
	})
	return errors.Join(err, content)
}

// eachRecord decodes the object of a line up to record last.
func (p *place) eachRecord(ctx context.Context, stored io.Reader, s *ship.SegmentLine, last uint64, f func(seq uint64, rec segment.Record)) error {
	enc, codec, err := encodingOf(p.o.Extra, s)
	if err != nil {
		return err
	}
	if err := checkLength(enc, s); err != nil {
		return blame(err)
	}
	r, err := p.openRecords(ctx, stored, enc, codec, s.RawBytes, nil)
	if err != nil {
		return err
	}
	defer r.close()
	seq := s.First - 1
	for err == nil {
		n, rec, rerr := r.Next()
		if err = rerr; err != nil {
			break
		}
		for seq++; enc.Plain && inGaps(s, seq); seq++ {
			continue
		}
		if !enc.Plain {
			seq = n
		}
		if seq > last {
			break
		}
		f(seq, rec)
	}
	return blame(errors.Join(ignoreEOF(err), r.Close()))
}

func inGaps(s *ship.SegmentLine, seq uint64) bool {
	return slices.ContainsFunc(s.Gaps, func(g segment.Range) bool { return g.First <= seq && seq <= g.Last })
}
