package spool

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// walk goes through the segments in order, seals those that a crash left without a footer, and replaces each
// missing one by an empty segment.
func (r *recovery) walk() (err error) {
	r.judgeNewest()
	owed := r.owedFrom()
	next := owed
	parts := r.parts
	r.parts = nil
	for i, p := range parts {
		if p.first() > next {
			if err := r.fillHole(next, p.first(), p.number); err != nil {
				return err
			}
			next = p.first() // p may be removed, and then the part after it must not fill this hole again
		}
		if p.guessed {
			p.header.Ledger = *r.saved.Clone()
			if len(r.parts) > 0 {
				l, at, err := r.sealedLedger()
				if err != nil {
					return err
				}
				p.header.Ledger = *l.Clone()
				p.header.Ledger.Kept = segment.Tally{Records: p.first() - 1, Bytes: at.bytes}
			}
		}
		// Only the newest may have been active: a segment ends before the next one begins.
		newest := i == len(parts)-1 && !r.begunAfter(p)
		if p.sealed == nil && !newest {
			if i == len(parts)-1 {
				err = r.finish(p, r.endBefore(p, r.begun.First), nil)
			} else {
				err = r.finishBefore(p, parts[i+1])
			}
			if err != nil {
				return err
			}
			if p.sealed == nil {
				continue // its records are in the next segment
			}
		}
		r.parts = append(r.parts, p)
		if p.sealed == nil {
			return r.scanNewest(p)
		}
		if p.sealed.First < next && p.sealed.Last >= owed {
			r.s.log.Error("spool: segments overlap, so records may be delivered twice: find out whether files were restored or copied into this directory", "class", r.s.opts.Class, "segment", p.number, "first", p.sealed.First, "expected", next)
		}
		next = max(p.sealed.Last+1, owed) // some covered segments may not be deleted yet
	}
	if least := r.leastNext(); least > next {
		return r.fillHole(next, least, r.numberOfHole(least-1)+1)
	}
	return nil
}

// begunAfter reports whether a later segment than p was begun. If so, p has ended, even if the later segment is missing. A later
// segment in which nothing became durable does not count: on a disk that refuses every sync it may have been begun for the records
// that p had not made durable, and removed when it could not make them durable either. Then p has the only copy.
func (r *recovery) begunAfter(p *part) bool {
	return r.begun != nil && r.begun.Segment > p.number && r.begun.Next > r.begun.First
}

// numberOfHole returns the number of the segment whose records, up to last, are missing at the end of the log.
func (r *recovery) numberOfHole(last uint64) uint64 {
	if r.begun != nil && !r.isPassed(r.begun.Segment, last) && !slices.ContainsFunc(r.parts, func(p *part) bool { return p.number >= r.begun.Segment }) &&
		!slices.Contains(r.blank, r.begun.Segment) {
		return r.begun.Segment
	}
	return r.s.space.number + 1
}

// isPassed reports whether a destination's chain is at the segment with this number, or after it, and lacks records up to last. A
// hole for those must have another number: it would not be sent to that destination, whose chain could then never continue.
func (r *recovery) isPassed(number, last uint64) bool {
	for _, d := range r.s.shelf.dests {
		if d.chain.Segment >= number && d.chain.Through < last {
			return true
		}
	}
	return false
}

// judgeNewest determines how many bytes of records may have been kept in the newest segment that are neither in its file nor covered
// by its last note, so that their numbers are not known.
func (r *recovery) judgeNewest() {
	b, s := r.begun, r.s
	if b == nil || b.Ended || r.clean != nil {
		return
	}
	covered := s.shelf.covered()
	if b.Segment <= covered || r.wasSealed {
		return
	}
	left := int64(headerPad)
	if r.newest >= b.Size {
		return // the file is not truncated: its own marks show what is missing
	}
	left = max(left, r.newest)
	if slices.ContainsFunc(r.parts, func(p *part) bool { return p.number >= b.Segment && p.sealed != nil || p.number > b.Segment }) {
		return
	}
	if left = b.Size - max(b.End, left); left <= 0 {
		return
	}
	r.vague = uint64(left)
	s.log.Error("spool: the file of the newest segment is missing or truncated; the last records in it cannot be listed, and the report has an upper bound of them: check the disk",
		"class", s.opts.Class, "segment", b.Segment, "named_up_to", b.Next-1, "at_most_bytes_more", r.vague)
}

// owedFrom returns the lowest sequence number from which a destination is owed every record. Missing records before it were deleted.
func (r *recovery) owedFrom() uint64 {
	owed, given := uint64(math.MaxUint64), uint64(1)
	for _, d := range r.s.shelf.dests {
		switch {
		case d.lost: // it has the deleted records, unless another destination lacks them
			owed = min(owed, r.oldest())
		case d.forgotten:
			given = max(given, d.chain.Through+1)
		default:
			owed = min(owed, d.chain.Through+1)
		}
	}
	if owed == math.MaxUint64 {
		return given
	}
	return owed
}

// oldest returns the first sequence number of the segments. It includes segments whose file is gone if they cannot have been deleted
// after delivery: one that was begun and has not ended, and those that judgeChains has found.
func (r *recovery) oldest() uint64 {
	n := r.leastNext()
	if len(r.parts) > 0 {
		n = r.parts[0].first()
	} else if b := r.begun; b != nil && !b.Ended && !r.wasSealed {
		n = min(n, b.First)
	}
	return min(n, cmp.Or(r.missing, n))
}

// leastNext returns the lowest sequence number that may be assigned next: numbers below it were durable or delivered, and must not
// be assigned again.
func (r *recovery) leastNext() uint64 {
	n := max(r.least, 1, r.saved.Kept.Records+1)
	for _, d := range r.s.shelf.dests {
		n = max(n, d.chain.Through+1)
	}
	if r.clean != nil {
		n = max(n, r.clean.Next)
	}
	return n
}

// finishBefore seals the segment p, which is followed by next.
func (r *recovery) finishBefore(p, next *part) error {
	if next.guessed { // its ledger is not known yet: walk will take it from the end of p
		return r.finish(p, next.first(), nil)
	}
	if end := r.endBefore(p, next.first()); end < next.first() { // a segment between the two is missing
		return r.finish(p, end, nil)
	}
	h, err := r.s.headerOf(next)
	switch {
	case statefile.Denied(err):
		return err
	case err != nil: // the index knows where next begins
		return r.finish(p, next.first(), nil)
	}
	return r.finish(p, next.first(), &h.Ledger)
}

// endBefore returns the first sequence number after the segment p, if the next file begins with next. If a destination has p, it has all
// records of p: those that it lacks were in a segment that is missing.
func (r *recovery) endBefore(p *part, next uint64) uint64 {
	for _, d := range r.s.shelf.dests {
		if d.chain.Segment >= p.number && d.chain.Through+1 < next {
			next = max(p.first(), d.chain.Through+1)
		}
	}
	return next
}

// finish seals a segment that is not the newest: next is the first sequence number of the following segment, and ledger
// the ledger at its beginning, nil if that is lost.
func (r *recovery) finish(p *part, next uint64, ledger *segment.Ledger) error {
	s := r.s
	f, err := s.fs.OpenRW(s.segPath(p.number))
	if err != nil {
		return err
	}
	defer f.Close()
	o := p.options()
	o.Next = next
	res, err := s.scan(f, p.size, o)
	if err != nil {
		return err
	}
	if next == p.header.First && res.End == int64(p.header.Len) && !r.wasSealedBefore(p.number) {
		// Its file failed before anything in it was synced, and everything was written again.
		if err := s.fs.Remove(s.segPath(p.number)); err != nil {
			return err
		}
		return s.fs.SyncDir(s.path(segDir))
	}
	if ledger == nil {
		ledger = res.Ledger.Clone()
		ledger.Kept = segment.Tally{Records: next - 1, Bytes: max(ledger.Kept.Bytes, p.header.Ledger.Kept.Bytes+res.Builder.Footer().Bytes)}
	}
	if err := r.noteScan(p, res); err != nil {
		return err
	}
	return r.sealPart(p, f, res, next, ledger)
}

// sealPart writes the footer of a scanned segment.
func (r *recovery) sealPart(p *part, f vfs.File, res *segment.ScanResult, next uint64, l *segment.Ledger) error {
	s := r.s
	s.logDamage(p.number, res.Damage)
	keepTail(res, p.size)
	s.journal.noteEnding(p.number)
	size, err := finish(f, res, next, l)
	if err != nil {
		return err
	}
	p.size, p.sealed = size, describe(p.header, res.Builder, l, res.Damage, size)
	r.changed = append(r.changed, p.sealed)
	return nil
}

// noteScan records the damage that a scan of a segment has found, except records that every destination has, possibly from another
// owner.
func (r *recovery) noteScan(p *part, res *segment.ScanResult) error {
	return r.s.damages.note(p.number, from(r.owedFrom(), rangesOf(res.Damage)), 0, "damaged when the spool was opened", numberName(p.number)+segExt)
}

// from returns the parts of ranges that are not before first.
func from(first uint64, ranges []segment.Range) (out []segment.Range) {
	for _, x := range ranges {
		if x.Last >= first {
			out = append(out, segment.Range{First: max(first, x.First), Last: x.Last})
		}
	}
	return out
}

// keepTail sets the offset of the next write after a damaged end, so that it is not overwritten: the bytes there may be all that is
// left of the records.
func keepTail(res *segment.ScanResult, size int64) {
	if k := len(res.Damage); k > 0 {
		res.End = max(res.End, segment.Align(min(res.Damage[k-1].End, size)))
	}
}

// headerOf returns a part's header, and reads it if necessary.
func (s *site) headerOf(p *part) (*segment.Header, error) {
	if p.header != nil {
		return p.header, nil
	}
	f, err := s.fs.Open(s.segPath(p.number))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := sizeOf(f, p.size)
	if err != nil {
		return nil, err
	}
	src, err := s.newReader(f, size, segment.ReadOptions{})
	if err != nil {
		return nil, err
	}
	p.header = src.Header()
	return p.header, nil
}

// fillHole creates an empty segment for the records from first to next−1, which are missing before the segment with the given number.
// So the loss appears in the ledger, the manifests and the objects.
func (r *recovery) fillHole(first, next, before uint64) error {
	s := r.s
	number := before - 1
	if k := len(r.parts); k > 0 && r.parts[k-1].number >= number {
		return fmt.Errorf("%w: records %d to %d are missing before segment %d, but no segment number is", ErrCorrupt, first, next-1, before)
	}
	files, err := r.filesOfHole(number)
	if err != nil {
		return err
	}
	lost := segment.Range{First: first, Last: next - 1}
	if n, ok := s.damages.noted(lost, number); ok && !r.isPassed(n, lost.Last) && (len(r.parts) == 0 || r.parts[len(r.parts)-1].number < n) {
		number = n // the process that noted the damage died before it had replaced the file by an empty segment
	}
	if err := s.damages.note(number, []segment.Range{lost}, 0, "the segment is missing, or is not readable as one", files...); err != nil {
		return err
	}
	// Its ledger is that of the segment before. Losses from the time when the missing segment was active are in the next header, and
	// so are counted for the next segment.
	l := segment.Ledger{Version: 1}
	if k := len(r.parts); k > 0 {
		if pl, err := s.endLedger(r.parts[k-1]); err == nil {
			l = *pl
		}
	}
	h := s.newHeader(number, first, time.Now().UTC(), l)
	hole, err := s.writeHole(h, next, &l)
	if err != nil {
		return err
	}
	s.space.number = max(s.space.number, before-1) // even if number is lower: segment numbers must not be reused
	r.changed = append(r.changed, hole)
	r.parts = append(r.parts, &part{number: number, header: h, size: hole.Size, sealed: hole})
	return nil
}

// filesOfHole sets aside blank files that may hold the missing records, and returns the names of all files in damaged/ that may: those
// of the segments after the last part, up to number. Files of segments that every destination has hold none of them.
func (r *recovery) filesOfHole(number uint64) ([]string, error) {
	after := uint64(0)
	if k := len(r.parts); k > 0 {
		after = r.parts[k-1].number
	}
	for i := 0; i < len(r.blank); {
		n := r.blank[i]
		if n <= after || n > number {
			i++
			continue
		}
		r.blank = slices.Delete(r.blank, i, i+1)
		if err := r.setSegmentAside(n); err != nil {
			return nil, err
		}
	}
	return r.s.asideOf(max(after, r.s.shelf.covered())+1, number)
}

// scanNewest scans the segment that was active.
func (r *recovery) scanNewest(p *part) error {
	s := r.s
	f, err := s.fs.Open(s.segPath(p.number))
	if err != nil {
		return err
	}
	defer f.Close()
	o := p.options()
	if b := r.begun; b != nil && b.Segment == p.number && b.Generation == p.header.Generation {
		o.Durable = b.End
	}
	if r.clean != nil && r.clean.Segment == p.number {
		// After an orderly end there is no torn tail: all missing records are damage.
		o.Durable, o.Next = r.clean.End, r.clean.Next
	}
	res, err := s.scan(f, p.size, o)
	if err == nil && res.Next < r.leastNext() {
		// Records that were delivered, or are listed in the index, cannot be missing because of a torn tail.
		o.Next = r.leastNext()
		res, err = s.scan(f, p.size, o)
	}
	r.last = res
	return err
}

// endLedger returns the ledger at the end of a sealed part.
func (s *site) endLedger(p *part) (*segment.Ledger, error) {
	if p.sealed.NoRaw {
		rec, err := persist(s.patience, func(bool) (*StageRecord, error) { return s.stageRecord(p.number) })
		if err != nil {
			return nil, err
		}
		f, err := segment.DecodeFooter(rec.Footer)
		if err != nil {
			return nil, err
		}
		return &f.Ledger, nil
	}
	f, err := s.fs.Open(s.segPath(p.number))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := sizeOf(f, p.size)
	if err != nil {
		return nil, err
	}
	src, err := s.newReader(f, size, segment.ReadOptions{})
	if err != nil {
		return nil, err
	}
	if footer, ok := src.Footer(); ok {
		return &footer.Ledger, nil
	}
	return nil, errors.New("spool: segment without a footer")
}
