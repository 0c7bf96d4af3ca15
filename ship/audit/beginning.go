package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/segment"
)

// bareRest is a line of a rest whose beginning is in no other chain of its place.
type bareRest struct {
	c  *cursor
	at *link
	seqRange
}

// cover is the part of a rest's beginning that is in the object of another line of the same place.
type cover struct {
	y *piece
	seqRange
}

// beginning looks for the other owners' records that a rest follows. A deep audit compares them with those of the whole
// segment, where another place has more of it: otherwise a line could call records delivered that are nowhere.
func (g *group) beginning(ctx context.Context, x *piece) {
	s := x.line()
	if s.Whole == nil {
		return
	}
	next := s.Whole.First
	var covers []cover
	for found := true; found && next < s.First; {
		found = false
		for i := range g.pieces {
			y := &g.pieces[i]
			if o := y.line(); y.c.at == x.c.at && y.c != x.c && o != nil && o.First <= next && o.Last >= next {
				last := min(o.Last, s.First-1)
				covers = append(covers, cover{y, seqRange{next, last}})
				next, found = last+1, true
			}
		}
	}
	damaged := slices.ContainsFunc(g.at(x.c.p), func(w *walk) bool { return w.unproven(next) })
	if next < s.First && !damaged && len(g.bare) < g.a.o.MaxFindings {
		g.bare = append(g.bare, bareRest{x.c, x.c.step.at, seqRange{next, s.First - 1}})
	}
	if g.a.o.Deep && next == s.First {
		g.a.check(g.sameBeginning(ctx, x, covers))
	}
}

// reportBare reports a rest without its beginning, unless the chain that has it is being written meanwhile.
func (g *group) reportBare(ctx context.Context, b bareRest) error {
	for _, w := range g.at(b.c.p) {
		if w.prev == nil || w.Final {
			continue
		}
		there, err := w.p.exists(ctx, ship.ManifestKey(w.id.class, w.id.spool, w.prev.epoch, w.prev.number+1))
		if there || err != nil {
			return err
		}
	}
	if begun, err := b.c.p.relatedBegun(ctx, b.c.id); begun || err != nil {
		return err
	}
	b.c.holes = append(b.c.holes, b.seqRange)
	b.c.find(SequenceBroken, b.at.epoch, b.first, b.last, b.c.manifestKey(b.at), "",
		"it states the rest of a segment whose beginning is in another chain of this place, and no chain here has that")
	return nil
}

// sameBeginning compares the records of covers with those of the segment that x is the rest of.
func (g *group) sameBeginning(ctx context.Context, x *piece, covers []cover) error {
	var most *piece // of the segment, that any place has
	for i := range g.pieces {
		if y := &g.pieces[i]; x.same(y) && y.line().Records > 0 && y.line().First < x.line().First && (most == nil || y.line().First < most.line().First) {
			most = y
		}
	}
	if most == nil {
		return nil // nobody has delivered these records as his own
	}
	for _, c := range covers {
		c.first = max(c.first, most.line().First)
		if c.first > c.last || c.y.line().Records == 0 {
			continue
		}
		timed := most.line().Format != ship.Lines && c.y.line().Format != ship.Lines
		skip := func(seq uint64) bool { // also what was damaged before one of the two was delivered
			return seq < c.first || inGaps(most.line(), seq) || inGaps(c.y.line(), seq)
		}
		a, errA := sumOf(ctx, most, c.last, timed, skip)
		b, errB := sumOf(ctx, c.y, c.last, timed, skip)
		if err := errors.Join(errA, errB); errors.Is(err, fs.ErrNotExist) || errors.Is(err, ship.ErrVerify) || errors.Is(err, errNotUnderstood) {
			continue // the object is judged by itself
		} else if err != nil {
			return err
		}
		if a != b {
			x.c.find(SequenceBroken, x.c.step.at.epoch, c.first, c.last, x.c.manifestKey(x.c.step.at), most.c.p.name+": "+most.line().Key,
				"it states the rest of a segment whose beginning is said to be in %s, which has other records", c.y.line().Key)
		}
	}
	return nil
}

// sumOf hashes the records up to last in the object of a piece.
func sumOf(ctx context.Context, x *piece, last uint64, timed bool, skip func(seq uint64) bool) (sum [32]byte, err error) {
	s, p := x.line(), x.c.p
	h := sha256.New()
	var content error
	err = p.request(ctx, func(ctx context.Context) error {
		h.Reset()
		body, err := p.dest.Open(ctx, s.Key)
		if err != nil {
			return err
		}
		defer body.Close()
		src := &source{r: io.LimitReader(body, s.Receipt.Size+1), progress: p.o.Progress}
		content = p.eachRecord(ctx, src, s, last, func(seq uint64, t int64, data []byte) {
			if skip(seq) {
				return
			}
			if !timed {
				t = 0
			}
			var n [24]byte
			binary.BigEndian.PutUint64(n[:], seq)
			binary.BigEndian.PutUint64(n[8:], uint64(t))
			binary.BigEndian.PutUint64(n[16:], uint64(len(data)))
			h.Write(n[:])
			h.Write(data)
		})
		return src.err
	})
	return [32]byte(h.Sum(nil)), errors.Join(err, content)
}

// eachRecord decodes the object of a line up to record last.
func (p *place) eachRecord(ctx context.Context, stored io.Reader, s *ship.SegmentLine, last uint64, f func(seq uint64, t int64, data []byte)) error {
	codec, err := compress.ByName(s.Codec)
	if err != nil || !slices.Contains(ship.Formats(), s.Format) {
		return fmt.Errorf("codec %q, format %q: %w", s.Codec, s.Format, errNotUnderstood)
	}
	if err := checkLength(s); err != nil {
		return blame(err)
	}
	r, err := p.openRecords(ctx, stored, s.Format, codec, s.RawBytes, nil)
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
		for seq++; s.Format == ship.Lines && inGaps(s, seq); seq++ {
			continue
		}
		if s.Format != ship.Lines {
			seq = n
		}
		if seq > last {
			break
		}
		f(seq, rec.Time, rec.Data)
	}
	return blame(errors.Join(ignoreEOF(err), r.Close()))
}

func inGaps(s *ship.SegmentLine, seq uint64) bool {
	return slices.ContainsFunc(s.Gaps, func(g segment.Range) bool { return g.First <= seq && seq <= g.Last })
}
