package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// walk follows one spool's chain at one place, from epoch to epoch. One goroutine reads it; the goroutines that examine its
// objects use only lookout.
type walk struct {
	a  *auditor
	p  *place
	id object.Origin
	ChainReport

	position
	unsigned *stretch       // the manifests that no signed one follows so far
	newest   *ship.Manifest // the last manifest, if there are no keys to judge signatures by

	holes  []seqRange // sequence numbers that damage leaves unproven
	passed []seqRange // not owed here: the sender's operator gave the place up, and took it back later
	wanted map[headID]*link
	behind owedRange
	denied bool              // FinalWrong was reported
	named  map[string]bool   // instances that are known to have appeared
	called map[uint32]string // the sender's name for the place, by epoch
	// reached is the hour before which no object will follow any more: that of the last object's folder, or the one that an
	// idle sender has stated (Footer.Passed).
	reached int32
	began   int32            // the earliest hour of its objects, 0 if it has none
	hours   map[int32]*Tally // the objects that it names, by hour

	closers []foundClosing // what may close the chain
	shut    bool           // one of them names its end
	group   *group         // the chains that it is judged with, nil if it is judged alone
	birth   uint64         // records before the chain's first one
	lookout
}

// position is what is known so far of the end of the chain that a walk follows.
type position struct {
	prev    *link  // nil before the first manifest, and after a hole
	segment uint64 // last segment that is covered
	started bool
	repeats bool   // segments that are covered already are stated again, for a reason that has been reported
	closed  uint32 // the epoch that took over, 0 for none
	hole    *hole
	broken  [2]*link   // two links that do not fit, until a third shows which of them is wrong
	pairs   [][2]*link // those that no third link has decided
}

// lookout is how far the objects of a walk have been examined. The goroutines that examine them use only these fields of it,
// under mu.
type lookout struct {
	through *headID // the manifest up to which an earlier audit has found the objects right
	mu      sync.Mutex
	batches []*batch // manifests whose objects are being examined, in order
	stuck   bool     // an object was not right, or a manifest not readable: the mark does not move past it
}

// link is what is kept of a manifest.
type link struct {
	epoch  uint32
	number uint64
	hash   [32]byte
	last   uint64
	ended  bool // final, or closed by another owner
	time   time.Time
	// vouched: its successor or a head names its hash.
	vouched bool
}

// headID identifies the manifest that a head or a closing names.
type headID struct {
	epoch  uint32
	number uint64
}

// hole is a stretch of manifests that cannot be read.
type hole struct {
	Finding
	from, to uint64 // numbers
}

type seqRange struct{ first, last uint64 }

// step is what a chain says about one segment.
type step struct {
	segment uint64
	line    *ship.SegmentLine // nil: no records
	loss    *ship.LossLine    // nil: no losses
	at      *link
	tallied bool    // its object is counted in its hour
	skip    skipped // segments before this one that the chain does not state, for a reason that is known
}

// skipped is a range of segment numbers, empty if to is 0, up to record last. hole: damage to the chain may be why it does not state them,
// so the place may lack their records. Otherwise it is not owed them.
type skipped struct {
	from, to, last uint64
	hole           bool
}

// covers reports whether the range includes a segment as another place states it. A chain continues after a given record. It
// does not skip later records, even if it skips the number of their segment.
func (r skipped) covers(s *step) bool {
	return s.segment >= r.from && s.segment <= r.to && (s.line == nil || s.line.Last <= r.last)
}

func (r skipped) with(o skipped) skipped {
	if o.to < o.from || o.to == 0 {
		return r
	}
	if r.to == 0 {
		return o
	}
	return skipped{min(r.from, o.from), max(r.to, o.to), max(r.last, o.last), r.hole || o.hole}
}

// report reports damage in this chain. It may concern every hour.
func (w *walk) report(code string, epoch uint32, first, last uint64, key, other, format string, args ...any) {
	w.reportIn(0, 0, code, epoch, first, last, key, other, format, args...)
}

// reportIn is report for damage that concerns only a range of hours, 0 for no bound.
func (w *walk) reportIn(from, to int32, code string, epoch uint32, first, last uint64, key, other, format string, args ...any) {
	f := Finding{
		Code: code, Place: w.p.name, Class: w.id.Class, Spool: w.id.Spool, Epoch: epoch, First: first, Last: last,
		Key: key, Other: other, Detail: fmt.Sprintf(format, args...),
	}
	w.a.rec.add(f.inHours(from, to))
}

// owe makes the verdict on the chain, and on some hours, no better than Owed.
func (w *walk) owe(hours span) { w.a.rec.atLeast(chainID{w.p.name, w.id}, Owed, hours) }

func (w *walk) manifestKey(l *link) string {
	return object.ManifestKey(w.id.Class, w.id.Spool, l.epoch, l.number)
}

// steps judges the chain's links and yields its segments in ascending order. The last step, with neither line nor loss, only
// says what is skipped at the end.
func (w *walk) steps(ctx context.Context, l *listedChain, ahead func() int) iter.Seq[step] {
	return func(yield func(step) bool) {
		var skip skipped
		for f := range w.p.manifests(ctx, w.id, l, ahead()) {
			switch {
			case errors.Is(f.err, fs.ErrNotExist), errors.Is(f.err, ship.ErrVerify), errors.Is(f.err, errUnread):
				w.noteUnreadable(f)
				continue
			case f.err != nil:
				w.a.check(f.err)
				return
			}
			before := w.segment
			jump, hole := w.judgeManifest(f.m)
			b := w.openBatch(w.prev)
			// jump stays true until a segment shows where the chain continues. The segments in between are not compared:
			// they have been reported, or are not owed.
			for s := range lines(f.m) {
				if s.segment <= before && w.started {
					if !w.repeats {
						first, last := s.bounds()
						w.report(LineWrong, f.m.Header.Epoch, first, last, w.manifestKey(w.prev), "",
							"segment %d follows segment %d", s.segment, before)
						w.repeats = true // once is enough
					}
					continue // judged when it was stated first
				}
				w.repeats = false
				if s.line != nil {
					s.tallied = w.judgeLine(ctx, b, f.m, s.line)
				}
				if s.loss != nil {
					w.Lost.Add(s.loss.Lost)
					w.Filtered.Add(s.loss.Filtered)
					w.Made.Add(s.loss.Made)
					w.Unaccounted.add(s.loss.Unaccounted)
				}
				if jump {
					skip, jump = skip.with(skipped{before + 1, s.segment - 1, f.m.Header.PrevLast, hole}), false
				}
				s.at, s.skip = w.prev, skip
				skip = skipped{}
				if !yield(s) {
					return
				}
			}
			if jump {
				skip = skip.with(skipped{before + 1, f.m.Footer.Segment, f.m.Header.PrevLast, hole})
			}
			if t := f.m.Footer.Passed; !t.IsZero() {
				w.reached = object.HourOf(t)
			}
			w.a.check(w.update(b, func(b *batch) { b.sealed = true }))
			w.segment, w.Last, w.started = max(w.segment, f.m.Footer.Segment), max(w.Last, f.m.Footer.Last), true
		}
		w.reportHole(0)
		w.reportUnsigned()
		w.checkNewestSignature()
		yield(step{skip: skip})
	}
}

// lines yields a manifest's segments.
func lines(m *ship.Manifest) iter.Seq[step] {
	return func(yield func(step) bool) {
		losses := m.Losses
		for i := range m.Segments {
			s := step{segment: m.Segments[i].Segment, line: &m.Segments[i]}
			for len(losses) > 0 && losses[0].Segment < s.segment {
				if !yield(step{segment: losses[0].Segment, loss: &losses[0]}) {
					return
				}
				losses = losses[1:]
			}
			if len(losses) > 0 && losses[0].Segment == s.segment {
				s.loss = &losses[0]
				losses = losses[1:]
			}
			if !yield(s) {
				return
			}
		}
		for i := range losses {
			if !yield(step{segment: losses[i].Segment, loss: &losses[i]}) {
				return
			}
		}
	}
}

// judgeLine judges a segment line by itself, and passes its object to expect. tallied: the object is counted in its hour.
func (w *walk) judgeLine(ctx context.Context, b *batch, m *ship.Manifest, s *ship.SegmentLine) (tallied bool) {
	for _, g := range s.Gaps {
		w.Gaps += g.Last - g.First + 1
		from, to := w.reached, int32(0)
		if k, ok := object.ParseKey(s.Key); ok {
			from, to = k.Hour, k.Hour
		} else {
			to = horizon(m)
		}
		w.reportIn(from, to, RecordsDamaged, m.Header.Epoch, g.First, g.Last, w.manifestKey(w.prev), "",
			"%s: they were kept, and could not be read any more when segment %d was delivered", count(g.Last-g.First+1, "record"), s.Segment)
	}
	if s.Records == 0 {
		return false
	}
	w.Segments++
	w.Records += s.Records
	w.Bytes += s.Bytes
	w.Stored += s.Receipt.Size
	k, ok := objectOf(w.id, m, s)
	if !ok {
		w.reportIn(w.reached, horizon(m), LineWrong, m.Header.Epoch, s.First, s.Last, w.manifestKey(w.prev), "", "it names %s for records %d to %d of this spool", s.Key, s.First, s.Last)
		return false
	}
	w.reached = k.Hour
	w.tally(k.Hour, s.Records, s.Bytes)
	w.expect(ctx, b, &k, s)
	return true
}

// objectOf parses the key of a line's object. ok: the key fits the line's chain and records. If the spool had another id
// when it named the object, the object keeps that name.
func objectOf(id object.Origin, m *ship.Manifest, s *ship.SegmentLine) (k object.Key, ok bool) {
	k, ok = object.ParseKey(s.Key)
	return k, ok && k.Class == id.Class && k.First == s.First && k.Last == s.Last && endsRight(k.Ext, s) &&
		(k.Spool == id.Spool && k.Epoch <= m.Header.Epoch || k.Spool != id.Spool && object.Related(k.Spool, id.Spool))
}

// endsRight reports whether the ending of an object's name fits the codec of its line, if this program knows that.
func endsRight(ext string, s *ship.SegmentLine) bool {
	c, err := compress.ByName(s.Codec)
	return err != nil || strings.HasSuffix(ext, c.Info().Ext)
}
