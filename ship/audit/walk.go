package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
)

// walk follows one spool's chain at one place, from epoch to epoch.
type walk struct {
	a  *auditor
	p  *place
	id spoolID
	Chain

	// What is known of the chain's end so far.
	prev    *link  // nil before the first manifest, and behind a hole
	segment uint64 // last segment that is covered
	started bool
	closed  uint32 // the epoch that took over, 0 for none
	hole    *hole
	broken  [2]*link   // two links that do not fit, until a third tells which of them is wrong
	pairs   [][2]*link // the same where no third follows

	holes  []seqRange // sequence numbers that damage leaves unproven
	wanted map[headID]*link
	behind owedRange
	denied bool            // FinalWrong was reported
	named  map[string]bool // instances that are known to have appeared
	// lastHour is the latest folder that any object is in.
	lastHour int32

	through *headID // up to which manifest an earlier audit has looked at the objects
	mu      sync.Mutex
	batches []*batch // manifests whose objects are being looked at, in order
	stuck   bool     // an object was not right: the mark stays in front of it
}

// link is what is kept of a manifest.
type link struct {
	epoch  uint32
	number uint64
	hash   [32]byte
	last   uint64
	final  bool
	time   time.Time
	// vouched: its successor or a head names its hash.
	vouched bool
}

// headID is a head that was listed, and the link of its chain that it should be.
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

// step is what a chain says of one segment.
type step struct {
	segment uint64
	line    *ship.SegmentLine // nil: no records
	loss    *ship.LossLine    // nil: no losses
	at      *link
	skip    segRange // segments before this one of which the chain says nothing, for a reason that is known
}

// segRange is a range of segment numbers, empty if to is 0.
type segRange struct{ from, to uint64 }

func (r segRange) has(n uint64) bool { return n >= r.from && n <= r.to }

func (r segRange) with(from, to uint64) segRange {
	if to < from || to == 0 {
		return r
	}
	if r.to == 0 {
		return segRange{from, to}
	}
	return segRange{min(r.from, from), max(r.to, to)}
}

// find reports damage in this chain.
func (w *walk) find(code string, epoch uint32, first, last uint64, key, other, format string, args ...any) {
	w.a.rec.add(Finding{
		Code: code, Place: w.p.name, Class: w.id.class, Spool: w.id.spool, Epoch: epoch, First: first, Last: last,
		Key: key, Other: other, Detail: fmt.Sprintf(format, args...),
	})
}

func (w *walk) manifestKey(l *link) string {
	return ship.ManifestKey(w.id.class, w.id.spool, l.epoch, l.number)
}

// steps judges the chain's links and yields its segments in ascending order. The last step, with neither line nor loss,
// only carries what is skipped at the end.
func (w *walk) steps(ctx context.Context, l *listedChain) iter.Seq[step] {
	return func(yield func(step) bool) {
		var skip segRange
		for f := range w.p.manifests(ctx, w.id, l) {
			switch {
			case errors.Is(f.err, fs.ErrNotExist), errors.Is(f.err, ship.ErrVerify):
				w.lost(f)
				continue
			case f.err != nil:
				w.a.check(f.err)
				return
			}
			before := w.segment
			jump := w.link(f.m)
			b := w.begin(w.prev)
			for s := range lines(f.m) {
				if s.segment <= before && w.started {
					continue // an epoch that begins anew repeats what it has
				}
				if s.line != nil {
					w.line(ctx, b, f.m, s.line)
				}
				if s.loss != nil {
					w.Lost.Add(s.loss.Lost)
				}
				if jump {
					skip, jump = skip.with(before+1, s.segment-1), false
				}
				s.at, s.skip = w.prev, skip
				skip = segRange{}
				if !yield(s) {
					return
				}
			}
			if jump {
				skip = skip.with(before+1, f.m.Footer.Segment)
			}
			w.a.check(w.update(b, func(b *batch) { b.sealed = true }))
			w.segment, w.Last, w.started = max(w.segment, f.m.Footer.Segment), max(w.Last, f.m.Footer.Last), true
		}
		w.fill(0)
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

// lost notes a manifest that cannot be read. It is reported once the next one tells how far the hole reaches.
func (w *walk) lost(f fetched) {
	if w.hole != nil && w.hole.Epoch == f.epoch && w.hole.Code == ManifestMissing && errors.Is(f.err, fs.ErrNotExist) && w.hole.to+1 == f.number {
		w.hole.to = max(f.number, f.to)
		return
	}
	w.fill(0)
	h := &hole{from: f.number, to: max(f.number, f.to)}
	h.Finding = Finding{
		Code: ManifestDamaged, Place: w.p.name, Class: w.id.class, Spool: w.id.spool, Epoch: f.epoch,
		First: w.Last + 1, Key: ship.ManifestKey(w.id.class, w.id.spool, f.epoch, f.number),
	}
	if errors.Is(f.err, fs.ErrNotExist) {
		h.Code = ManifestMissing
	} else {
		h.Detail = f.err.Error()
	}
	w.hole, w.prev = h, nil
}

// fill reports the hole that was open. next is the first sequence number behind it, 0 if that is unknown.
func (w *walk) fill(next uint64) {
	h := w.hole
	if h == nil {
		return
	}
	w.hole = nil
	if next > h.First {
		h.Last = next - 1
	}
	if h.Code == ManifestMissing {
		h.Detail = fmt.Sprintf("manifest %d of epoch %d is not there, later ones are", h.from, h.Epoch)
		if h.to > h.from {
			h.Detail = fmt.Sprintf("manifests %d to %d of epoch %d are not there, later ones are", h.from, h.to, h.Epoch)
		}
	}
	switch {
	case next == 0:
		w.holes = append(w.holes, seqRange{h.First, ^uint64(0)})
	case next > h.First:
		w.holes = append(w.holes, seqRange{h.First, next - 1})
	default:
		h.First = 0 // it covers no records
	}
	w.a.rec.add(h.Finding)
}

// link judges a manifest by those before it, and makes it the chain's end. jump: it does not go on where the one before
// ends, for a reason that is known or has been reported.
func (w *walk) link(m *ship.Manifest) (jump bool) {
	h := &m.Header
	l := &link{epoch: h.Epoch, number: h.Number, hash: m.Hash, last: m.Footer.Last, final: m.Footer.Final, time: h.Time}
	key, prev := w.manifestKey(l), w.prev
	afterHole := w.hole != nil
	w.fill(h.PrevLast + 1)
	goesOn := !afterHole && prev != nil && h.Epoch == prev.epoch
	if !goesOn {
		w.part()
	}
	zero := strings.Trim(h.Prev, "0") == ""
	switch {
	case afterHole:
		jump = true
	case prev == nil:
		jump = true
		if !zero {
			w.find(ManifestMissing, h.Epoch, 1, h.PrevLast, key, "", "the chain begins with a manifest that names one before, which is not there")
			w.holes = append(w.holes, seqRange{1, h.PrevLast})
		} else if h.PrevLast > 0 && h.Joined != h.PrevLast+1 {
			w.find(SequenceBroken, h.Epoch, 1, h.PrevLast, key, "", "the chain begins at record %d", h.PrevLast+1)
			w.holes = append(w.holes, seqRange{1, h.PrevLast})
		}
	case zero && h.Destination != w.Destination:
		// The sender calls this place by another name now: a chain of its own, which says where it joined.
		jump = true
	case zero:
		jump = true
		w.find(ChainBroken, h.Epoch, 0, 0, key, w.p.name+": "+w.manifestKey(prev),
			"it names no manifest before it, though there is one: its sender had lost the state of its chain, or never had it")
	case h.Epoch != prev.epoch && h.Prev != hex.EncodeToString(prev.hash[:]):
		w.cut(prev, h)
		jump = h.PrevLast != prev.last
	default:
		w.hash(prev, l, h.Prev)
		jump = w.sequence(h, key)
		w.order(h, prev, key)
	}
	if w.First == 0 && (len(m.Segments) > 0 || m.Footer.Last > 0) {
		w.First = h.PrevLast + 1
	}
	w.prev = l
	w.Manifests++
	w.Place, w.Class, w.Spool, w.Destination, w.Instance = w.p.name, h.Class, h.Spool, h.Destination, h.Instance
	w.Epoch, w.Final, w.Time, w.closed = h.Epoch, m.Footer.Final, h.Time, 0
	if by := m.Footer.ClosedBy; by != nil {
		w.closed = by.Epoch
	}
	if !w.named[h.Instance] {
		w.named[h.Instance] = true
		w.a.appeared(h.Instance)
	}
	if _, ok := w.wanted[headID{l.epoch, l.number}]; ok {
		w.wanted[headID{l.epoch, l.number}] = l
	}
	return jump
}

// hash checks that l names prev. If it does not, either may be wrong: the next link decides.
func (w *walk) hash(prev, l *link, want string) {
	fits := hex.EncodeToString(prev.hash[:]) == want
	prev.vouched = fits
	if w.broken[0] != nil {
		// The two links before do not fit: prev is the culprit unless it is vouched for now.
		if fits {
			w.blame(w.broken[0], w.broken[1], false)
		} else {
			w.blame(prev, w.broken[0], false)
			w.broken = [2]*link{}
			return
		}
		w.broken = [2]*link{}
	}
	if !fits {
		w.broken = [2]*link{prev, l}
	}
}

// blame reports that a link is not the one that was written. unsure: it may as well be the other.
func (w *walk) blame(culprit, other *link, unsure bool) {
	text := "it is not the manifest that those around it were written with"
	if unsure {
		text = "it does not fit the manifest beside it; one of the two is not what was written"
	}
	w.find(ChainBroken, culprit.epoch, 0, 0, w.manifestKey(culprit), w.p.name+": "+w.manifestKey(other), "%s", text)
}

// sequence checks that the chain goes on where it ended.
func (w *walk) sequence(h *ship.ManifestHeader, key string) (jump bool) {
	switch last := w.prev.last; {
	case h.PrevLast == last:
		return false
	case h.PrevLast > last && h.Joined == h.PrevLast+1:
		return true // the destination was given up, and taken back later
	case h.PrevLast > last:
		w.find(SequenceBroken, h.Epoch, last+1, h.PrevLast, key, "", "it goes on behind record %d, the one before ends with %d", h.PrevLast, last)
		w.holes = append(w.holes, seqRange{last + 1, h.PrevLast})
	default:
		w.find(SequenceBroken, h.Epoch, h.PrevLast+1, last, key, "", "it goes on behind record %d, the one before ends with %d: records are stated twice", h.PrevLast, last)
	}
	return true
}

// cut reports an epoch whose end is not the one that the next epoch was begun behind.
func (w *walk) cut(prev *link, h *ship.ManifestHeader) {
	first, last := prev.last+1, h.PrevLast
	if last < first {
		first, last = 0, 0
	} else {
		w.holes = append(w.holes, seqRange{first, last})
	}
	w.find(ChainCut, prev.epoch, first, last, ship.ManifestKey(w.id.class, w.id.spool, prev.epoch, prev.number+1), w.p.name+": "+w.manifestKey(prev),
		"epoch %d was begun behind another manifest than the last one of epoch %d: what followed that was cut off, or it is not what was written", h.Epoch, prev.epoch)
}

// order checks that nothing follows an end. An epoch need not be closed before the next one begins: the next one's link
// to its last manifest says that nothing followed.
func (w *walk) order(h *ship.ManifestHeader, prev *link, key string) {
	ended := w.Final || w.closed != 0
	switch {
	case h.Epoch == prev.epoch && ended:
		w.find(AfterEnd, h.Epoch, 0, 0, key, "", "it follows the end of its epoch, manifest %d", prev.number)
	case h.Epoch < w.closed:
		w.find(AfterEnd, h.Epoch, 0, 0, key, "", "epoch %d was handed over to epoch %d", prev.epoch, w.closed)
	case h.Epoch == prev.epoch && h.Destination != w.Destination:
		w.find(ChainBroken, h.Epoch, 0, 0, key, "", "it is of destination %q, the one before of %q", h.Destination, w.Destination)
	}
}

// part gives up waiting for a third link.
func (w *walk) part() {
	if w.broken[0] != nil {
		w.pairs = append(w.pairs, w.broken)
	}
	w.broken = [2]*link{}
}

// settle names the one of two links that do not fit where no third has told. Heads have been looked at by then.
func (w *walk) settle() {
	w.part()
	for _, p := range w.pairs {
		if p[1].vouched {
			w.blame(p[0], p[1], false)
		} else {
			w.blame(p[1], p[0], true)
		}
	}
}

// line judges a segment line by itself, and has its object looked for.
func (w *walk) line(ctx context.Context, b *batch, m *ship.Manifest, s *ship.SegmentLine) {
	for _, g := range s.Gaps {
		w.Gaps += g.Last - g.First + 1
	}
	if s.Records == 0 {
		return
	}
	w.Segments++
	w.Records += s.Records
	w.Bytes += s.Bytes
	w.Stored += s.Receipt.Size
	k, ok := parseDataKey(s.Key)
	if !ok || k.spoolID != w.id || k.first != s.First || k.last != s.Last || k.epoch > m.Header.Epoch || !endsRight(k.ext, s) {
		w.find(LineWrong, m.Header.Epoch, s.First, s.Last, w.manifestKey(w.prev), "", "it names %s for records %d to %d of this spool", s.Key, s.First, s.Last)
		return
	}
	w.lastHour = max(w.lastHour, k.hour)
	w.expect(ctx, b, &k, s)
}

// endsRight reports whether the name of an object says what its line says, as far as this program knows the words.
func endsRight(ext string, s *ship.SegmentLine) bool {
	c, err := compress.ByName(s.Codec)
	return err != nil || strings.HasSuffix(ext, c.Info().Ext)
}
