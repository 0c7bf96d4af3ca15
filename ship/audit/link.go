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

// noteUnreadable notes a manifest that cannot be read. It is reported once the next one tells how far the hole reaches: which
// records are concerned is in its header, as prev_last, and nowhere else.
func (w *walk) noteUnreadable(f fetched) {
	if w.hole != nil && w.hole.Epoch == f.epoch && w.hole.Code == ManifestMissing && errors.Is(f.err, fs.ErrNotExist) && w.hole.to+1 == f.number {
		w.hole.to = max(f.number, f.to)
		return
	}
	w.reportHole(0)
	h := &hole{from: f.number, to: max(f.number, f.to)}
	h.Finding = Finding{
		Code: ManifestDamaged, Place: w.p.name, Class: w.id.Class, Spool: w.id.Spool, Epoch: f.epoch,
		First: w.Last + 1, Key: object.ManifestKey(w.id.Class, w.id.Spool, f.epoch, f.number),
	}
	h.Finding = h.inHours(w.reached, 0)
	switch {
	case errors.Is(f.err, fs.ErrNotExist):
		h.Code = ManifestMissing
	case errors.Is(f.err, ship.ErrVersion):
		h.Code, h.Detail = NotUnderstood, f.err.Error()
	default:
		h.Detail = f.err.Error()
	}
	w.hole, w.prev = h, nil
}

// reportHole reports the hole that was open. next is the first sequence number after it, 0 if that is unknown.
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

// horizon is the last hour in which anything that a manifest and those before it cover can have begun: that in which it was
// written, by the same clock, or that of its own objects.
func horizon(m *ship.Manifest) int32 {
	last := object.HourOf(m.Header.Time)
	for i := range m.Segments {
		if k, ok := object.ParseKey(m.Segments[i].Key); ok {
			last = max(last, k.Hour)
		}
	}
	return last
}

// judgeManifest judges a manifest by those before it, and makes it the chain's end. jump: it does not go on where the one before
// ends, for a reason that is known or has been reported.
func (w *walk) judgeManifest(m *ship.Manifest) (jump bool) {
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
		jump = true
		if h.PrevLast < w.Last {
			w.reportRepeat(h, w.Last, key)
		}
	case prev == nil:
		jump = true
		if !zero {
			w.report(ManifestMissing, h.Epoch, 1, h.PrevLast, key, "", "the first manifest of the chain names a previous one, which is not there")
			w.holes = append(w.holes, seqRange{1, h.PrevLast})
		} else if h.PrevLast > 0 && h.Joined != h.PrevLast+1 {
			w.report(SequenceBroken, h.Epoch, 1, h.PrevLast, key, "", "the chain begins at record %d", h.PrevLast+1)
			w.holes = append(w.holes, seqRange{1, h.PrevLast})
		}
	case zero && h.Destination != w.Destination:
		// The sender calls this place by another name now: a chain of its own, which says where it joined. What it repeats
		// is what was not deleted on its disk yet.
		jump, w.repeats = true, true
		if h.PrevLast > prev.last {
			w.checkSequence(h, key)
		}
	case zero:
		jump, w.repeats = true, true
		if h.PrevLast > prev.last {
			w.checkSequence(h, key)
		}
		w.report(ChainBroken, h.Epoch, 0, 0, key, w.p.name+": "+w.manifestKey(prev),
			"it names no previous manifest, although there is one: its sender had lost the state of its chain, or never had it")
	case h.Epoch != prev.epoch && h.Prev != hex.EncodeToString(prev.hash[:]):
		w.reportCutEpoch(prev, h)
		jump = h.PrevLast != prev.last
	default:
		w.checkHash(prev, l, h.Prev)
		jump = w.checkSequence(h, key)
		w.checkOrder(h, prev, key)
	}
	if w.First == 0 && (len(m.Segments) > 0 || m.Footer.Last > 0) {
		w.First = h.PrevLast + 1
	}
	if jump && h.Joined == h.PrevLast+1 && h.PrevLast > w.Last {
		w.NotOwed += h.PrevLast - w.Last
		if w.Manifests == 0 && zero {
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
	return jump
}

// checkHash checks that l names prev. If it does not, either may be wrong: whoever altered prev has changed its hash, whoever
// altered l may have changed what it names. The next link decides, since it names l: to accuse the wrong one of two
// would send people to restore a file that is right.
func (w *walk) checkHash(prev, l *link, want string) {
	fits := hex.EncodeToString(prev.hash[:]) == want
	prev.vouched = prev.vouched || fits
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
	text := "it is not the manifest that the previous and the next one were written with"
	if unsure {
		text = "it does not match the manifest next to it; one of the two was altered"
	}
	w.report(ChainBroken, culprit.epoch, 0, 0, w.manifestKey(culprit), w.p.name+": "+w.manifestKey(other), "%s", text)
}

// checkSequence checks that the chain goes on where it ended.
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

// reportCutEpoch reports an epoch whose end is not the one that the next epoch was begun after. Unlike within an epoch, that is
// most likely a tail that was cut off, for nothing else in the listing shows it: an epoch may end with any number.
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

// checkOrder checks that nothing follows an end. An epoch need not be closed before the next one begins: the next one's link
// to its last manifest says that nothing followed.
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

// keepBrokenPair gives up waiting for a third link.
func (w *walk) keepBrokenPair() {
	if w.broken[0] != nil {
		w.pairs = append(w.pairs, w.broken)
	}
	w.broken = [2]*link{}
}

// blameBrokenPairs names the one of two links that do not fit where no third has told. Heads have been looked at by then.
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
