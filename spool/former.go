package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/penstock-go/penstock/spool/segment"
)

// former is an identity that the spool had before: another owner has continued its chain with other records, and what the
// chain does not contain is delivered under the identity that follows it. Identities are only ever appended, so that every
// destination goes through all of them in the same order, each at its own pace.
type former struct {
	Spool string `json:"spool"`
	Last  uint64 `json:"last"` // number of the last segment that may have been begun under it
}

func names(fs []former) (ids []string) {
	for _, f := range fs {
		ids = append(ids, f.Spool)
	}
	return ids
}

// owns reports whether a segment of the given spool id belongs here.
func (id *identity) owns(spool string) bool {
	return spool == id.Spool || slices.ContainsFunc(id.Former, func(f former) bool { return f.Spool == spool })
}

// first returns the identity that the spool began with.
func (id *identity) first() string {
	if len(id.Former) > 0 {
		return id.Former[0].Spool
	}
	return id.Spool
}

// next returns the identity that follows one, "" if that is the current one.
func (id *identity) next(spool string) string {
	i := slices.IndexFunc(id.Former, func(f former) bool { return f.Spool == spool })
	switch {
	case i < 0:
		return ""
	case i+1 < len(id.Former):
		return id.Former[i+1].Spool
	}
	return id.Spool
}

// limit returns the number of the last segment that is delivered under an identity.
func (id *identity) limit(spool string) uint64 {
	for _, f := range id.Former {
		if f.Spool == spool {
			return f.Last
		}
	}
	return math.MaxUint64
}

// ident returns the identity as it is now; what it points to is not changed any more.
func (s *Spool) ident() *identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Limit returns the number of the last segment that is delivered under a chain's identity: of a former one, nothing
// follows. Segments beyond it wait for the chain to move on to the next identity, which a final manifest does.
func (s *Spool) Limit(c Chain) uint64 { return s.ident().limit(c.Spool) }

// Recovered returns the last sequence number that was found when the spool was opened. A copy of its volume that was made
// before has no record in common with this spool beyond it.
func (s *Spool) Recovered() uint64 { return s.found }

// Leave ends the part that this spool has in a destination's chain, which another owner continues: the chain contains
// every record of this spool up to number through, the last one of segment seg or one in the middle of the segment that
// follows it. From there on the destination is owed everything under the next identity; see Rename.
func (s *Spool) Leave(dest string, seg, through uint64) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if seg < c.Segment || through < c.Through {
			return c, fmt.Errorf("spool: leave the chain of %q: goes back from segment %d to %d", dest, c.Segment, seg)
		}
		c.Segment, c.Through, c.Joined = seg, through, through+1
		c.Final, c.Left, c.ClosedBy, c.Taken, c.Shared = true, true, 0, 0, 0
		return c, nil
	})
}

// Rename gives a destination's chain that was left the identity under which it goes on: the one that follows in this
// spool, or name, which becomes the spool's identity then. name has to be the same for whoever holds the same records, and
// for nobody else.
func (s *Spool) Rename(dest, name string) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if !c.Left {
			return c, nil
		}
		if err := s.renew(c.Spool, name); err != nil {
			return c, err
		}
		return s.succeed(c), nil
	})
}

// Enter moves a destination's chain on into the epoch that its last manifest has handed it over to, beyond this spool's own.
func (s *Spool) Enter(dest string) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if c.Final && c.ClosedBy != 0 {
			c.Before, _ = c.Last()
			c.Epoch, c.Next, c.Final, c.ClosedBy = c.ClosedBy, 0, false, 0
		}
		return c, nil
	})
}

// Found says in which epoch a chain whose state is lost was found; its own, if it was found in none.
func (s *Spool) Found(dest string, epoch uint32) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if c.Lost {
			c.Epoch, c.Lost = epoch, false
		}
		return c, nil
	})
}

// succeed moves a chain that has ended to the next identity. Its first manifest has no predecessor.
func (s *Spool) succeed(c Chain) Chain {
	next := s.ident().next(c.Spool)
	return Chain{Spool: next, Epoch: 1, Segment: c.Segment, Through: c.Through, Joined: c.Through + 1, Passed: c.Passed}
}

// move changes the state of a chain without a manifest.
func (s *Spool) move(dest string, change func(Chain) (Chain, error)) error {
	d, err := s.destination(dest)
	if err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.calls.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	s.mu.Lock()
	old, delivered := d.chain, d.delivered
	s.mu.Unlock()
	c, err := change(old)
	if err != nil || c == old {
		return err
	}
	delivered.Add(s.cat.sum(old.Segment, c.Segment))
	// What was proposed stands nowhere: somebody else's manifest has its number.
	if err := s.fs.Remove(s.proposalPath(dest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: withdraw: %w", err)
	}
	if err := s.saveChain(d, c, delivered); err != nil {
		return err
	}
	s.cat.changed()
	wake(s.work)
	return nil
}

// renew makes name the identity of what is kept from now on, in the place of old, unless old has been followed by another
// one already. The active segment ends with the former one's: which identity a segment was begun under is in its header.
func (s *Spool) renew(old, name string) error {
	if s.ident().next(old) != "" {
		return nil
	}
	if s.source == nil {
		if err := s.endActive(0, true); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.acquire(&s.writer) // no segment begins meanwhile, and no other destination's chain makes the next identity
	defer func() { s.release(&s.writer); s.mu.Unlock() }()
	if s.id.Spool != old {
		return nil
	}
	id := *s.id
	last := s.number
	if s.active != nil { // begun since: under the former identity, as its header says
		last = max(last, s.active.number)
	}
	id.Former = append(slices.Clone(id.Former), former{id.Spool, last})
	id.Spool = name
	// A spare has a number that belongs to the former identity.
	sp := s.spare
	s.spare = nil
	s.mu.Unlock()
	if sp != nil {
		s.discard(sp)
	}
	err := id.save(s.fs, s.dir)
	s.mu.Lock()
	if err != nil {
		return err
	}
	s.id = &id
	s.log.Warn("spool: another owner continues the chain of this spool: what the chain does not contain is delivered under a new identity",
		"class", s.opts.Class, "former", id.Former[len(id.Former)-1].Spool, "spool", name)
	return nil
}

// Ended reports whether a chain's identity is a former one, and its chain covers everything that belongs under it.
func (s *Spool) Ended(c Chain) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.id.limit(c.Spool)
	if limit == math.MaxUint64 || s.active != nil && s.active.number <= limit || len(s.rolled) > 0 && s.rolled[0].number <= limit {
		return false
	}
	next := s.cat.after(c.Segment, 1)
	return len(next) == 0 || next[0].Number > limit
}

// ReadSealed opens the records of a sealed segment. fs.ErrNotExist: it is not there, or only its staged file is.
func (s *Spool) ReadSealed(number uint64) (r *segment.Reader, done func() error, err error) {
	seg, ok := s.cat.get(number)
	if !ok || seg.NoRaw {
		return nil, nil, fmt.Errorf("spool: read segment %d: %w", number, fs.ErrNotExist)
	}
	f, err := s.fs.Open(s.segPath(number))
	if err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	r, err = newReader(f, seg.Size, segment.ReadOptions{Durable: seg.Size, Next: seg.Last + 1, Segment: number})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("spool: %w", err), f.Close())
	}
	return r, f.Close, nil
}

// StageRest stages a sealed segment from a sequence number in its middle on: a destination's chain contains what comes
// before. The file is the caller's, who calls done when it is delivered; the next Open removes what is left.
func (s *Spool) StageRest(ctx context.Context, number, first uint64, enc Encoder) (rec *StageRecord, body *io.SectionReader, done func(), err error) {
	if err := s.begin(); err != nil {
		return nil, nil, nil, err
	}
	defer s.calls.Done()
	seg, ok := s.cat.get(number)
	if !ok {
		return nil, nil, nil, fmt.Errorf("spool: stage segment %d: %w", number, fs.ErrNotExist)
	}
	src, closeSrc, err := s.ReadSealed(number)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = closeSrc() }()
	if err := src.Begin(first); err != nil {
		return nil, nil, nil, fmt.Errorf("spool: read segment %d: %w", number, err)
	}
	path := s.path(stageDir, fmt.Sprintf("%s-%016x%s", numberName(number), first, objExt))
	within, _ := s.beyondQuota(&seg)
	defer within()
	out, err := s.stageTo(number, path, func(w io.Writer) (Encoded, error) { return enc.Encode(ctx, w, src, nil) })
	if err != nil {
		return nil, nil, nil, fmt.Errorf("spool: stage segment %d: %w", number, err)
	}
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("spool: %w", err)
	}
	seg.First, seg.Gaps = first, out.Gaps
	if seg.Bytes, err = s.restBytes(number, first); err != nil {
		return nil, nil, nil, errors.Join(err, f.Close())
	}
	done = func() {
		_ = f.Close()
		s.unlink(path, out.size)
	}
	return s.newRecord(seg, src, out), io.NewSectionReader(f, 0, out.size), done, nil
}

// restBytes adds up the payload of a segment's records from a sequence number on.
func (s *Spool) restBytes(number, first uint64) (n uint64, err error) {
	r, done, err := s.ReadSealed(number)
	if err != nil {
		return 0, err
	}
	defer func() { _ = done() }()
	for {
		seq, rec, err := r.Next()
		var damage *segment.DamageError
		switch {
		case err == io.EOF:
			return n, nil
		case errors.As(err, &damage):
		case err != nil:
			return n, fmt.Errorf("spool: %w", err)
		case seq >= first:
			n += uint64(len(rec.Data))
		}
	}
}
