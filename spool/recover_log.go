package spool

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// walk goes through the segments in order, seals those that a crash left without a footer, and puts an empty segment in
// the place of each that is missing.
func (r *recovery) walk() error {
	owed := r.owedFrom()
	next := owed
	parts := r.parts
	r.parts = nil
	for i, p := range parts {
		if p.first() > next {
			if err := r.fillHole(next, p.first(), p.number); err != nil {
				return err
			}
		}
		if p.guessed {
			p.header.Ledger = *r.saved.Clone()
			if k := len(r.parts); k > 0 {
				l, err := r.s.endLedger(r.parts[k-1])
				if err != nil {
					return err
				}
				p.header.Ledger = *l
			}
		}
		// Only the newest may have been active: whatever comes before another segment had ended.
		newest := i == len(parts)-1
		if p.sealed == nil && !newest {
			if err := r.finish(p, parts[i+1]); err != nil {
				return err
			}
			if p.sealed == nil {
				continue // nothing in it counts
			}
		}
		r.parts = append(r.parts, p)
		if p.sealed == nil {
			return r.scanNewest(p)
		}
		if p.sealed.First < next && p.sealed.Last >= owed {
			r.s.log.Error("spool: segments overlap", "class", r.s.opts.Class, "segment", p.number, "first", p.sealed.First, "expected", next)
		}
		next = max(p.sealed.Last+1, owed) // deleting what is covered may have left some of it
	}
	if least := r.leastNext(); least > next {
		return r.fillHole(next, least, r.s.number+2)
	}
	return nil
}

// owedFrom returns the sequence number from which on somebody is owed everything: what is missing before it was deleted.
func (r *recovery) owedFrom() uint64 {
	owed, given := uint64(math.MaxUint64), uint64(1)
	for _, d := range r.s.dests {
		switch {
		case d.lost: // it has what is gone, unless another one lacks it
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

// oldest returns the sequence number with which the segments begin.
func (r *recovery) oldest() uint64 {
	if len(r.parts) == 0 {
		return r.leastNext()
	}
	return r.parts[0].first()
}

// leastNext returns the lowest sequence number that can come next: what has been promised or delivered up to there is
// never given again.
func (r *recovery) leastNext() uint64 {
	n := max(r.least, 1, r.saved.Kept.Records+1)
	for _, d := range r.s.dests {
		n = max(n, d.chain.Through+1)
	}
	if r.clean != nil {
		n = max(n, r.clean.Next)
	}
	return n
}

// finish seals a segment that is not the newest.
func (r *recovery) finish(p, next *part) error {
	s := r.s
	h, err := s.headerOf(next)
	if err != nil {
		return err
	}
	f, err := s.fs.OpenRW(s.segPath(p.number))
	if err != nil {
		return err
	}
	defer f.Close()
	o := p.options()
	o.Next = next.first()
	res, err := scan(f, p.size, o)
	if err != nil {
		return err
	}
	if next.first() == p.header.First && res.End == int64(p.header.Len) {
		// Its file failed before anything in it was synced, and everything was written again.
		if err := s.fs.Remove(s.segPath(p.number)); err != nil {
			return err
		}
		return s.fs.SyncDir(s.path(segDir))
	}
	return r.sealPart(p, f, res, next.first(), &h.Ledger)
}

// sealPart writes the footer of a scanned segment.
func (r *recovery) sealPart(p *part, f vfs.File, res *segment.ScanResult, next uint64, l *segment.Ledger) error {
	r.s.logDamage(p.number, res.Damage)
	size, err := finish(f, res, next, l)
	if err != nil {
		return err
	}
	p.size, p.sealed = size, describe(p.header, res.Builder, l, res.Damage, size)
	r.changed = append(r.changed, p.sealed)
	return nil
}

// headerOf returns a part's header, reading it if need be.
func (s *Spool) headerOf(p *part) (*segment.Header, error) {
	if p.header != nil {
		return p.header, nil
	}
	f, err := s.fs.Open(s.segPath(p.number))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := newReader(f, p.size, segment.ReadOptions{})
	if err != nil {
		return nil, err
	}
	p.header = src.Header()
	return p.header, nil
}

// fillHole puts an empty segment in the place of what is missing before the one with the given number: so the loss goes
// the way of everything else, into the ledger, the manifests and the objects.
func (r *recovery) fillHole(first, next, before uint64) error {
	s := r.s
	number := before - 1
	if k := len(r.parts); k > 0 && r.parts[k-1].number >= number {
		return fmt.Errorf("%w: records %d to %d are missing before segment %d, and no segment is", ErrCorrupt, first, next-1, before)
	}
	s.log.Error("spool: LOST records: the segment that held them is gone", "class", s.opts.Class, "segment", number, "first", first, "last", next-1)
	// Its ledger is that of the segment before: what was lost by cause while the missing one was active is in the next
	// one's header, and no longer known to have been lost just then.
	l := segment.Ledger{Version: 1}
	if k := len(r.parts); k > 0 {
		if pl, err := s.endLedger(r.parts[k-1]); err == nil {
			l = *pl
		}
	}
	h := &segment.Header{
		Generation: segment.NewGeneration(), Segment: number, First: first, Created: time.Now().UTC(),
		Spool: s.id.Spool, Epoch: s.id.Epoch, Class: s.id.Class, Instance: s.opts.Instance, Ledger: l,
	}
	b, err := segment.EncodeHeader(h, headerPad)
	if err != nil {
		return err
	}
	path := s.segPath(number)
	f, err := s.fs.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	res, err := segment.Scan(f, int64(len(b)), segment.ReadOptions{Next: next})
	if err != nil {
		return err
	}
	p := &part{number: number, header: h}
	if err := r.sealPart(p, f, res, next, &l); err != nil {
		return err
	}
	s.number = max(s.number, number)
	r.parts = append(r.parts, p)
	return s.fs.SyncDir(s.path(segDir))
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
	if r.clean != nil && r.clean.Segment == p.number {
		// After an orderly end there is no torn tail: whatever is missing is damage.
		o.Durable, o.Next = r.clean.End, r.clean.Next
	}
	res, err := scan(f, p.size, o)
	if err == nil && res.Next < r.leastNext() {
		// What was delivered, or counted by the index, cannot have been a torn tail.
		o.Next = r.leastNext()
		res, err = scan(f, p.size, o)
	}
	r.last = res
	return err
}

// endLedger returns the ledger at the end of a sealed part.
func (s *Spool) endLedger(p *part) (*segment.Ledger, error) {
	if p.sealed.NoRaw {
		rec, err := s.stageRecord(p.number)
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
	src, err := newReader(f, p.size, segment.ReadOptions{})
	if err != nil {
		return nil, err
	}
	if footer, ok := src.Footer(); ok {
		return &footer.Ledger, nil
	}
	return nil, errors.New("spool: segment without a footer")
}
