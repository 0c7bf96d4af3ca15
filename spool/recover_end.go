package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// conclude finds the end of the log and the ledger there, and prepares the newest segment for further writes, or seals it.
func (r *recovery) conclude() error {
	s := r.s
	var p *part
	if k := len(r.parts); k > 0 {
		p = r.parts[k-1]
	}
	var at place
	var l *segment.Ledger
	switch {
	case r.last != nil:
		// The header counts the records before this segment; the blocks contain the rest. The last ledger block may be older than
		// the last records, or newer than the last ones that can be read.
		f := r.last.Builder.Footer()
		l = r.last.Ledger
		at = place{r.last.Next - 1, max(p.header.Ledger.Kept.Bytes+f.Bytes, l.Kept.Bytes)}
		s.journal.sealedEnd = place{p.header.First - 1, p.header.Ledger.Kept.Bytes}
	case p != nil && p.sealed.Last+1 >= r.leastNext():
		var err error
		if l, at, err = r.sealedLedger(); err != nil {
			return err
		}
		s.journal.sealedEnd = at
	default: // nothing is left of the log, or only segments that could not be deleted although all later ones were
		l = r.saved
		at = place{r.leastNext() - 1, l.Kept.Bytes}
		s.journal.sealedEnd = at
	}
	if b := r.begun; b != nil && at.seq+1 >= b.Next {
		at.bytes = max(at.bytes, b.Bytes)
		if r.last == nil {
			s.journal.sealedEnd = at
		}
	}
	if r.clean != nil && r.clean.Next <= at.seq {
		r.doubtClean("there are records after it")
	}
	if r.clean != nil && r.clean.Next == at.seq+1 {
		// The ledger in the clean mark is as new as any other, and exists even if the segment with the last ledger block is lost.
		l = &r.clean.Ledger
		at.bytes = l.Kept.Bytes
		if r.last == nil {
			s.journal.sealedEnd = at
		}
	}
	// Delivered records were kept, even if every file that says how many bytes they had is lost.
	if most := r.mostDelivered(); at.bytes < most {
		at.bytes = most
		if r.last == nil {
			s.journal.sealedEnd = at
		}
	}
	s.journal.lastEnd = *l.Clone()
	s.journal.lastEnd.Kept = at.tally()
	// Kept counts the existing records, whatever the ledger block says: it may be older than the last records, or count some that a
	// power cut has destroyed.
	s.journal.ledger = *l.Clone()
	s.journal.ledger.Version = 1
	s.journal.ledger.Kept = at.tally()
	s.journal.taken, s.journal.written, s.journal.durable, s.journal.found = at.seq, at.seq, at.seq, at.seq
	s.journal.place, s.journal.placed = at, at
	for _, d := range s.shelf.dests {
		if !d.lost {
			d.note(&s.journal.ledger)
		}
	}
	r.accountForEnd(l.Time)
	if r.last == nil {
		return nil
	}
	return r.resume(p)
}

// mostDelivered returns the largest number of bytes that was delivered to any destination, or is in the segments after its chain. A segment
// of which the destination has a part is left out: how many bytes it lacks is not known.
func (r *recovery) mostDelivered() (bytes uint64) {
	for _, d := range r.s.shelf.dests {
		sum := d.delivered.Bytes
		for _, p := range r.parts {
			switch {
			case p.number <= d.chain.Segment, p.first() <= d.chain.Through:
			case p.sealed != nil:
				sum += p.sealed.Bytes
			default:
				sum += r.last.Builder.Footer().Bytes
			}
		}
		bytes = max(bytes, sum)
	}
	return bytes
}

// sealedLedger returns the end of the newest segment, which is sealed, and the ledger there: that of the newest segment whose footer
// can be read. The known bytes of later segments are added to the place.
func (r *recovery) sealedLedger() (*segment.Ledger, place, error) {
	at := place{seq: r.parts[len(r.parts)-1].sealed.Last}
	for i := len(r.parts) - 1; i >= 0; i-- {
		p := r.parts[i]
		l, err := r.s.endLedger(p)
		if err == nil {
			at.bytes += l.Kept.Bytes
			return l, at, nil
		}
		if statefile.Denied(err) {
			return nil, at, err
		}
		r.s.log.Error("spool: cannot read the ledger at the end of a segment; an older one is used, so counts of losses may be too low, and no record is concerned: check the disk", "class", r.s.opts.Class, "segment", p.number, "err", err)
		at.bytes += p.sealed.Bytes
	}
	at.bytes += r.saved.Kept.Bytes
	return r.saved, at, nil
}

// accountForEnd makes a ledger that was read back balance. After an orderly end it must balance already.
func (r *recovery) accountForEnd(from time.Time) {
	s := r.s
	l := &s.journal.ledger
	most, since, died := r.lostAtMost()
	if from.IsZero() {
		from = since
	}
	r.carryEnds()
	settled, entered := l.Settled(), l.Entered()
	if !died {
		// Only records must balance: bytes may not if an embedder's code changes records.
		if entered.Records == settled.Records {
			return
		}
		s.log.Error("spool: the ledger of an orderly end does not balance; the difference is reported as unaccounted: please report this as a bug", "class", s.opts.Class,
			"received", l.Received, "made", l.Made, "kept", l.Kept, "filtered", l.Filtered, "lost", l.Lost.Total())
	}
	known := l.Buffered()
	// Records that were kept after the last ledger block must also count as received.
	l.Received.Add(settled.Sub(entered))
	r.report(segment.Unaccounted{
		From: from.UTC(), To: time.Now().UTC(), Known: known, AtMostBytes: uint64(most) + r.vague,
	})
	s.log.Warn("spool: recovered after an unclean end; every record that was written is here, and the report bounds what was in memory only; nothing needs to be done", "class", s.opts.Class, "next", s.journal.taken+1,
		"unaccounted", known.Records, "at_most_bytes_more", most, "at_most_records_more", most/leastRecord)
}

// carryEnds reports the ends that the last process had found and could not write to the log before it died too.
func (r *recovery) carryEnds() {
	if r.life == nil {
		return
	}
	named := r.s.journal.ledger.Unaccounted
	for _, u := range r.life.Ends {
		if !slices.ContainsFunc(named, func(n segment.Unaccounted) bool { return n.To.Equal(u.To) }) {
			r.report(u)
		}
	}
}

// report adds an entry to the ledger, and to the life mark of this process: see lifeMark.Ends.
func (r *recovery) report(u segment.Unaccounted) {
	j := r.s.journal
	j.ledger.Unaccounted = addEnd(j.ledger.Unaccounted, u)
	j.ledgerDirty = true
	r.ends = addEnd(r.ends, u)
}

// maxUnaccounted is the maximum length of the list in the ledger, which is in every header; beyond it the oldest entries are joined.
const maxUnaccounted = 64

func addEnd(list []segment.Unaccounted, u segment.Unaccounted) []segment.Unaccounted {
	list = append(list, u)
	if len(list) > maxUnaccounted {
		list[1] = join(list[0], list[1])
		list = slices.Delete(list, 0, 1)
	}
	return list
}

func join(a, b segment.Unaccounted) segment.Unaccounted {
	a.To = b.To
	a.Known.Add(b.Known)
	a.AtMostBytes += b.AtMostBytes
	return a
}

// resume continues with the newest segment, unless it belongs to an earlier epoch, or is damaged, or was sealed before: then it is sealed.
func (r *recovery) resume(p *part) error {
	s := r.s
	f, err := s.fs.OpenRW(s.segPath(p.number))
	if err != nil {
		return err
	}
	// A segment that cannot be continued is sealed at once: the next block begins one with the right epoch and an intact header.
	res := r.last
	ledger := &s.journal.ledger
	if s.source != nil {
		ledger = &s.journal.lastEnd // without changes of this process, so that every adopter makes the same segment
	} else if r.clean == nil {
		if err := rewrite(f, res.Durable, min(res.End, p.size)); err != nil {
			_ = f.Close()
			return fmt.Errorf("sync segment %d: %w", p.number, err)
		}
	}
	if s.source != nil || r.wasSealedBefore(p.number) || p.guessed || p.header.Epoch != s.id.Epoch || p.header.Spool != s.id.Spool || p.header.Instance != s.opts.Instance || len(res.Damage) > 0 || res.End >= s.opts.SegmentBytes {
		defer f.Close()
		if err := r.noteScan(p, res); err != nil {
			return err
		}
		if err := r.sealPart(p, f, res, res.Next, ledger); err != nil {
			return err
		}
		s.journal.lastEnd = *s.journal.ledger.Clone()
		s.journal.sealedEnd = s.journal.place
		s.journal.ledgerDirty = false
		return nil
	}
	if r.clean == nil {
		s.journal.noteEnding(p.number)
		if err := s.space.cut(f, res.End); err != nil {
			_ = f.Close()
			return fmt.Errorf("cut the torn tail of segment %d: %w", p.number, err)
		}
	}
	r.parts = r.parts[:len(r.parts)-1]
	s.journal.active = &active{
		number: p.number, generation: p.header.Generation, file: f, header: p.header, builder: res.Builder,
		created: time.Now().Add(-since(p.header.Created)), times: s.journal.times, off: res.End, written: res.End, synced: res.End,
	}
	s.journal.left = max(0, s.opts.SegmentBytes-res.End)
	s.space.quota.found(s.opts.SegmentBytes)
	return nil
}

// wasSealedBefore reports whether the segment may have had an end that others know, although the file has no footer (any more), or is an old
// copy. No record may be added then: a destination that has the segment would not be sent it, and one that was offered it in a manifest
// could not acknowledge it. A disk that does not say whether there is a staged file may have one.
func (r *recovery) wasSealedBefore(number uint64) bool {
	for _, d := range r.s.shelf.dests {
		if d.chain.Segment >= number {
			return true
		}
	}
	for _, path := range []string{r.s.recPath(number), r.s.objPath(number)} {
		if _, err := r.s.fs.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return r.remains[number]
}

// stages matches staged files with segments, and removes those that belong to no segment.
func (r *recovery) stages() error {
	s := r.s
	entries, err := s.fs.ReadDir(s.path(stageDir))
	if err != nil {
		return err
	}
	// Reading a hundred thousand stage records would take longer than everything else. If index and size agree, the record is read
	// only when the segment is staged.
	byNum := make(map[uint64]*part, len(r.parts))
	for _, p := range r.parts {
		byNum[p.number] = p
	}
	objects := make(map[uint64]int64)
	for _, e := range entries {
		if n, ok := parseName(e.Name(), objExt); ok && byNum[n] != nil {
			fi, err := s.fs.Stat(s.objPath(n))
			if err != nil {
				return err
			}
			objects[n] = fi.Size()
			continue
		}
		if n, ok := parseName(e.Name(), recExt); ok && byNum[n] != nil {
			continue
		}
		if err := s.fs.Remove(s.path(stageDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, p := range r.parts {
		if p.sealed == nil {
			continue
		}
		if err := r.matchStaged(p.sealed, objects); err != nil {
			return err
		}
	}
	return nil
}

// matchStaged updates a segment's entry with the state of its staged file.
func (r *recovery) matchStaged(seg *sealed, objects map[uint64]int64) error {
	size, ok := objects[seg.Number]
	if ok && seg.Staged && seg.StagedSize == size {
		r.s.space.quota.found(size)
		return nil
	}
	was := *seg
	seg.Staged, seg.StagedSize = false, 0
	if ok {
		rec, err := persist(r.s.patience, func(bool) (*StageRecord, error) { return r.s.stageRecord(seg.Number) })
		if statefile.AnswerTo(err) == statefile.Refused {
			return err
		}
		if err == nil && rec.Size == size {
			seg.Staged = true
			seg.Records, seg.Bytes, seg.Gaps = rec.Records, rec.Bytes, rec.Gaps
		} else if errors.Is(err, errForeign) {
			r.s.log.Error("spool: moved a staged file of another spool to damaged/, where it stays until you remove it: find out who has put it into this directory", "class", r.s.opts.Class, "segment", seg.Number, "err", err)
			for _, ext := range []string{objExt, recExt} {
				if err := r.s.setAside(stageDir, numberName(seg.Number)+ext); err != nil {
					return err
				}
			}
			size = 0
		} else if !seg.NoRaw && r.isUnfinished(seg.Number, err) {
			_ = r.s.fs.Remove(r.s.objPath(seg.Number))
			size = 0
		} else if !seg.NoRaw {
			// It may be the only copy of records that the segment's own file has lost since: Stage finds out.
			seg.Staged, seg.StagedSize = true, size
		}
		seg.StagedSize = size
		r.s.space.quota.found(size)
	}
	if was.Staged != seg.Staged || was.StagedSize != seg.StagedSize {
		r.changed = append(r.changed, seg)
	}
	return nil
}

// isUnfinished reports whether the error for a staged file's record means that Stage was interrupted before it wrote the record:
// then the segment's own file could be read to its end. For an adopter every error counts if the staged file is the source's, which
// keeps it.
func (r *recovery) isUnfinished(n uint64, err error) bool {
	return statefile.AnswerTo(err) == statefile.Absent || r.s.source != nil && !r.s.inWork(r.s.objPath(n))
}

// pool lists the files that can be reused.
func (r *recovery) pool() error {
	s := r.s
	if s.source != nil {
		return nil // the files are the source's, to which nothing is written
	}
	entries, err := s.fs.ReadDir(s.path(freeDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := s.path(freeDir, e.Name())
		n, ok := parseName(e.Name(), "")
		fi, err := s.fs.Stat(path)
		if err != nil {
			return err
		}
		if fi.Size() == 0 && strings.HasPrefix(e.Name(), inodePrefix) {
			continue
		}
		if !ok || len(s.space.quota.pool) == poolFiles || fi.Size() > 2*s.opts.SegmentBytes {
			if err := s.fs.Remove(path); err != nil {
				return err
			}
			continue
		}
		s.space.number = max(s.space.number, n)
		s.space.quota.pool = append(s.space.quota.pool, poolFile{n, fi.Size()})
		s.space.quota.found(fi.Size())
	}
	return nil
}

// save fills the catalogue, and updates the index.
func (r *recovery) save() error {
	s := r.s
	for _, p := range r.parts {
		s.space.number = max(s.space.number, p.number)
		s.shelf.cat.put(p.sealed)
		s.space.quota.found(p.size)
	}
	if fi, err := s.fs.Stat(s.path(index.FileName)); err == nil {
		s.space.quota.foundFixed(fi.Size())
	}
	s.damages.held = s.damages.size()
	s.space.quota.foundFixed(s.damages.held)
	s.shelf.forgetDamages()
	if s.source == nil {
		s.space.quota.raise(s.journal.recordBytes())
	} else {
		s.space.quota.used = s.workBytes() // the source's own files are on another disk
	}
	for chunk := range slices.Chunk(r.changed, 1000) {
		s.shelf.remember(chunk...)
	}
	for chunk := range slices.Chunk(r.gone, 1000) {
		s.shelf.apply(nil, chunk)
	}
	return nil
}

// balance checks the second equation of the ledger for the destinations that are owed every record, and corrects the count of damaged
// records. A destination that got the records before the damage does not lack them, so the count is that of the destination that
// lacks most.
func (r *recovery) balance() {
	s := r.s
	var worst *destination
	var missing segment.Tally
	for _, d := range s.shelf.dests {
		if d.forgotten || d.chain.Joined > 1 {
			continue
		}
		t := d.delivered
		t.Add(s.owed(d))
		// Sub does not go below zero: a surplus is not damage.
		t = s.journal.ledger.Kept.Sub(t)
		if worst == nil || t.Records > missing.Records || t.Records == missing.Records && t.Bytes > missing.Bytes {
			worst, missing = d, t
		}
	}
	if worst == nil || missing == s.journal.ledger.Damaged {
		return
	}
	s.log.Error("spool: the ledger does not balance; correcting the count of damaged records", "class", s.opts.Class, "destination", worst.name,
		"kept", s.journal.ledger.Kept, "delivered", worst.delivered, "damaged", s.journal.ledger.Damaged, "now", missing)
	s.journal.ledger.Damaged = missing
	s.journal.ledgerDirty = true
}
