package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// noteUnreadable notes a manifest that cannot be read. It is reported only after the next readable one: the header of that one
// (prev_last) is the only place that says which records are concerned.
func (w *walk) noteUnreadable(f fetched) {
	if w.hole != nil && w.hole.Epoch == f.epoch && w.hole.Code == ManifestMissing && errors.Is(f.err, fs.ErrNotExist) && w.hole.to+1 == f.number {
		w.hole.to = max(f.number, f.to)
		return
	}
	w.reportHole(0)
	w.keepMark()
	h := &hole{from: f.number, to: max(f.number, f.to)}
	h.Finding = Finding{
		Code: ManifestDamaged, Place: w.p.name, Class: w.id.Class, Spool: w.id.Spool, Epoch: f.epoch,
		First: w.Last + 1, Key: object.ManifestKey(w.id.Class, w.id.Spool, f.epoch, f.number),
	}
	h.Finding = h.inHours(w.reached, 0)
	switch {
	case errors.Is(f.err, fs.ErrNotExist):
		h.Code = ManifestMissing
	case errors.Is(f.err, errUnread):
		h.Code, h.Detail = Unread, errText(f.err)
	case errors.Is(f.err, ship.ErrVersion):
		h.Code, h.Detail = NotUnderstood, f.err.Error()
	default:
		h.Detail = f.err.Error()
	}
	w.hole, w.prev = h, nil
}

// reportHole reports the open hole, if there is one. next is the first sequence number after it, 0 if unknown.
func (w *walk) reportHole(next uint64) {
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

// horizon is the last hour in which a segment can have begun that a manifest, or one before it, covers: the hour in which the
// manifest was written, by the same clock, or that of its newest object.
func horizon(m *ship.Manifest) int32 {
	last := object.HourOf(m.Header.Time)
	for i := range m.Segments {
		if k, ok := object.ParseKey(m.Segments[i].Key); ok {
			last = max(last, k.Hour)
		}
	}
	return last
}

// judgeManifest judges a manifest by the previous ones, and makes it the chain's end. jump: it does not continue where the
// previous one ends, for a reason that is known or has been reported. hole: the reason is damage, and not that the place was given up.
func (w *walk) judgeManifest(m *ship.Manifest) (jump, hole bool) {
	h := &m.Header
	l := &link{epoch: h.Epoch, number: h.Number, hash: m.Hash, last: m.Footer.Last, ended: m.Footer.Final || m.Footer.ClosedBy != nil, time: h.Time}
	key, prev := w.manifestKey(l), w.prev
	afterHole := w.hole != nil
	w.checkSignature(m, l, prev != nil && h.Prev == hex.EncodeToString(prev.hash[:]))
	if w.hole != nil {
		w.hole.Finding = w.hole.inHours(object.HourOf(w.hole.HourFrom), horizon(m))
	}
	w.reportHole(h.PrevLast + 1)
	goesOn := !afterHole && prev != nil && h.Epoch == prev.epoch
	if !goesOn {
		w.keepBrokenPair()
	}
	zero := strings.Trim(h.Prev, "0") == ""
	switch {
	case afterHole:
		jump, hole = true, true
		if h.PrevLast < w.Last {
			w.reportRepeat(h, w.Last, key)
		}
	case prev == nil:
		jump, hole = true, !zero || h.Joined != h.PrevLast+1
		if !zero {
			w.report(ManifestMissing, h.Epoch, 1, h.PrevLast, key, "", "the first manifest of the chain names a previous one, which is not there")
			w.holes = append(w.holes, seqRange{1, h.PrevLast})
		} else if h.PrevLast > 0 && h.Joined != h.PrevLast+1 {
			w.report(SequenceBroken, h.Epoch, 1, h.PrevLast, key, "", "the chain begins at record %d", h.PrevLast+1)
			w.holes = append(w.holes, seqRange{1, h.PrevLast})
		}
	case zero:
		jump, hole, w.repeats = true, true, true
		if h.PrevLast > prev.last {
			w.checkSequence(h, key)
		}
		w.report(ChainBroken, h.Epoch, 0, 0, key, w.p.name+": "+w.manifestKey(prev),
			"it names no previous manifest, although there is one: no collector begins a chain again where it has begun")
	case h.Epoch != prev.epoch && h.Prev != hex.EncodeToString(prev.hash[:]):
		w.reportCutEpoch(prev, h)
		jump = h.PrevLast != prev.last
		hole = jump
	default:
		w.checkHash(prev, l, h.Prev)
		jump = w.checkSequence(h, key)
		hole = jump && h.Joined != h.PrevLast+1
		w.checkOrder(h, prev, key)
	}
	if w.First == 0 && (len(m.Segments) > 0 || m.Footer.Last > 0) {
		w.First = h.PrevLast + 1
	}
	if jump && h.Joined == h.PrevLast+1 && h.PrevLast > w.Last {
		w.NotOwed += h.PrevLast - w.Last
		switch {
		case w.Manifests > 0:
			w.passed = append(w.passed, seqRange{w.Last + 1, h.PrevLast})
		case zero:
			w.birth = h.PrevLast
		}
	}
	w.prev = l
	w.Manifests++
	w.Place, w.Class, w.Spool, w.Destination, w.Instance = w.p.name, h.Class, h.Spool, h.Destination, h.Instance
	w.Epoch, w.Final, w.Time, w.closed = h.Epoch, m.Footer.Final, h.Time, 0
	if by := m.Footer.ClosedBy; by != nil {
		w.closed = by.Epoch
	}
	w.called[h.Epoch] = h.Destination
	if !w.named[h.Instance] {
		w.named[h.Instance] = true
		w.a.noteAppeared(h.Instance)
	}
	if _, ok := w.wanted[headID{l.epoch, l.number}]; ok {
		w.wanted[headID{l.epoch, l.number}] = l
	}
	return jump, hole
}

// checkHash checks that l names the hash of prev. If it does not, either may be wrong: altering prev changes its hash, altering
// l may change the hash that it names. The next link decides, because it names l. Blaming the wrong one would make an operator
// restore a file that is right.
func (w *walk) checkHash(prev, l *link, want string) {
	fits := hex.EncodeToString(prev.hash[:]) == want
	prev.vouched = prev.vouched || fits
	if w.broken[0] != nil {
		// prev and the link before it do not fit: prev is the culprit, unless l names its hash.
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

// blame reports that a link is not the manifest that was written. unsure: it may just as well be the other one.
func (w *walk) blame(culprit, other *link, unsure bool) {
	text := "it is not the manifest that the previous and the next one were written with"
	if unsure {
		text = "it does not match the manifest next to it; one of the two was altered"
	}
	w.report(ChainBroken, culprit.epoch, 0, 0, w.manifestKey(culprit), w.p.name+": "+w.manifestKey(other), "%s", text)
}

// checkSequence checks that a manifest continues where the chain ended.
func (w *walk) checkSequence(h *ship.ManifestHeader, key string) (jump bool) {
	switch last := w.prev.last; {
	case h.PrevLast == last:
		return false
	case h.PrevLast > last && h.Joined == h.PrevLast+1:
		return true // the destination was given up, and taken back later
	case h.PrevLast > last:
		w.report(SequenceBroken, h.Epoch, last+1, h.PrevLast, key, "", "it continues after record %d, but the previous one ends with record %d", h.PrevLast, last)
		w.holes = append(w.holes, seqRange{last + 1, h.PrevLast})
	default:
		w.reportRepeat(h, last, key)
	}
	return true
}

// reportRepeat reports records that a chain states again.
func (w *walk) reportRepeat(h *ship.ManifestHeader, last uint64, key string) {
	w.repeats = true
	w.report(SequenceBroken, h.Epoch, h.PrevLast+1, last, key, "",
		"it continues after record %d, but the chain had already reached record %d: records are stated twice", h.PrevLast, last)
}

// reportCutEpoch reports an epoch whose last manifest is not the one that the next epoch names. Unlike within an epoch, the
// likely cause is that the end was cut off: an epoch may end with any number, so the listing does not show it.
func (w *walk) reportCutEpoch(prev *link, h *ship.ManifestHeader) {
	first, last := prev.last+1, h.PrevLast
	if last < first {
		first, last = 0, 0
	} else {
		w.holes = append(w.holes, seqRange{first, last})
	}
	w.reportIn(w.reached, 0, ChainCut, prev.epoch, first, last, object.ManifestKey(w.id.Class, w.id.Spool, prev.epoch, prev.number+1), w.p.name+": "+w.manifestKey(prev),
		"epoch %d follows another manifest than the last one of epoch %d: the end of that epoch was cut off, or its last manifest was altered", h.Epoch, prev.epoch)
}

// checkOrder checks that nothing follows an end. An epoch need not be closed before the next one begins: the next one names the
// hash of its last manifest, which shows that nothing followed.
func (w *walk) checkOrder(h *ship.ManifestHeader, prev *link, key string) {
	ended := w.Final || w.closed != 0
	switch {
	case h.Epoch == prev.epoch && ended:
		w.report(AfterEnd, h.Epoch, 0, 0, key, "", "it follows the end of its epoch, manifest %d", prev.number)
	case h.Epoch < w.closed:
		w.report(AfterEnd, h.Epoch, 0, 0, key, "", "epoch %d was handed over to epoch %d", prev.epoch, w.closed)
	case h.Epoch == prev.epoch && h.Destination != w.Destination:
		w.report(ChainBroken, h.Epoch, 0, 0, key, "", "it is written for destination %q, the previous one for %q", h.Destination, w.Destination)
	}
}

// keepBrokenPair stops waiting for a third link that decides about a pair.
func (w *walk) keepBrokenPair() {
	if w.broken[0] != nil {
		w.pairs = append(w.pairs, w.broken)
	}
	w.broken = [2]*link{}
}

// blameBrokenPairs blames one link of each pair that no third link has decided. Heads, which may vouch for one, were checked
// before.
func (w *walk) blameBrokenPairs() {
	w.keepBrokenPair()
	for _, p := range w.pairs {
		if p[1].vouched {
			w.blame(p[0], p[1], false)
		} else {
			w.blame(p[1], p[0], true)
		}
	}
}
