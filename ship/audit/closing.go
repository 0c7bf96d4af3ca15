package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// ClosedChain says how an operator has closed a chain whose spool is permanently gone (see Close). Records that the spool kept
// after record After, and that no place has, are lost.
type ClosedChain struct {
	Key    string    `json:"key"` // of the closing
	After  uint64    `json:"after"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
	Signed bool      `json:"signed"` // by one of Options.Keys
}

// readClosing reads one closing, and judges it without looking at its chain.
func (p *place) readClosing(ctx context.Context, id object.Origin, key string) (*ship.Closing, error) {
	return document(p.kept, key, func() (*ship.Closing, error) { return p.readClosingOf(ctx, id, key) })
}

func (p *place) readClosingOf(ctx context.Context, id object.Origin, key string) (c *ship.Closing, err error) {
	err = p.requestOf(ctx, key, func(ctx context.Context) error {
		body, err := p.dest.Open(ctx, key)
		if err != nil {
			return err
		}
		c, err = ship.DecodeClosing(body, key)
		if cerr := body.Close(); err == nil {
			err = cerr
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case c.Class != id.Class || c.Spool != id.Spool:
		return nil, fmt.Errorf("%w: it is the closing of another chain", ship.ErrVerify)
	case len(p.o.Keys) > 0:
		return c, c.CheckSignature(p.o.Keys...)
	}
	return c, selfSigned(c.Signature, c.CheckSignature)
}

// foundClosing is a closing that readClosing has found valid.
type foundClosing struct {
	*ship.Closing
	key string
}

// readClosings reads the closings of a chain before the chain itself, since the walk must know which manifests they name. A closing
// with anything wrong is reported and closes nothing: anyone with write access could have put it there.
func (w *walk) readClosings(ctx context.Context, l *listedChain) error {
	for _, key := range l.closings {
		c, err := w.p.readClosing(ctx, w.id, key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ship.ErrVersion):
			w.report(NotUnderstood, 0, 0, 0, key, "", "%v", err)
		case errors.Is(err, ship.ErrVerify):
			w.report(ClosingWrong, 0, 0, 0, key, "", "it closes nothing: %v", err)
		case errors.Is(err, errUnread):
			w.a.reportUnread(Finding{Class: w.id.Class, Spool: w.id.Spool}, "", err)
		case err != nil:
			return err
		default:
			w.closers = append(w.closers, foundClosing{c, key})
			if id := (headID{c.Epoch, c.Number}); w.wanted[id] == nil {
				w.wanted[id] = nil
			}
		}
	}
	return nil
}

// judgeClosings finds out whether the chain is closed. A closing that names another manifest than the one that is there closes
// nothing. One that names a manifest after the chain's end shows, as a head does, that the end was cut off. The one with the latest
// manifest counts: its writer has seen what came after the others.
func (c *cursor) judgeClosings(ctx context.Context) error {
	var best foundClosing
	for _, f := range c.closers {
		l := c.wanted[headID{f.Epoch, f.Number}]
		name, known := c.called[f.Epoch]
		if !known {
			name = c.Destination
		}
		switch {
		case name != f.Destination:
			// Checked first: a closing of another chain says nothing about the end of this one.
			c.report(ClosingWrong, f.Epoch, 0, 0, f.key, "", "it closes nothing: it is of the chain of destination %q, and this one is of %q", f.Destination, name)
		case l == nil && (f.Epoch > c.Epoch || f.Epoch == c.Epoch && (c.prev == nil || f.Number > c.prev.number)):
			from := min(c.reached, object.HourOf(f.Time)) // see reportCut
			if there, err := c.p.exists(ctx, object.ManifestKey(f.Class, f.Spool, f.Epoch, f.Number)); err != nil || there {
				c.owe(span{class: c.id.Class, from: from})
				return err
			}
			first, last := c.Last+1, f.Last
			if last < first {
				first, last = 0, 0
			} else {
				c.holes = append(c.holes, seqRange{first, last})
			}
			c.reportIn(from, 0, ChainCut, f.Epoch, first, last, object.ManifestKey(f.Class, f.Spool, f.Epoch, f.Number), c.p.name+": "+f.key,
				"a closing names manifest %d, up to record %d, but the chain ends before it", f.Number, f.Last)
		case l == nil:
			// Missing in the middle, or not readable: reported already.
		case hex.EncodeToString(l.hash[:]) != f.Hash || l.last != f.Last:
			c.report(ClosingWrong, f.Epoch, 0, 0, f.key, c.p.name+": "+c.manifestKey(l), "it closes nothing: it names another manifest %d than the one that is there", f.Number)
		case best.Closing == nil || best.Epoch < f.Epoch || best.Epoch == f.Epoch && best.Number < f.Number:
			best = f
			l.vouched = true
		}
	}
	if best.Closing == nil {
		return nil
	}
	if end := c.prev; end == nil || end.epoch != best.Epoch || end.number != best.Number {
		if end != nil {
			c.report(Reopened, c.Epoch, min(best.Last+1, c.Last), c.Last, c.manifestKey(end), c.p.name+": "+best.key,
				"%s closed the spool after record %d on %s (%s), and it has delivered again since", best.By, best.Last, best.Time.Format(time.RFC3339), best.Reason)
		}
		return nil
	}
	c.shut = true
	if !c.Final {
		c.Closed = &ClosedChain{
			Key: best.key, After: best.Last, By: best.By, Reason: best.Reason, Time: best.Time,
			Signed: len(c.a.o.Keys) > 0,
		}
	}
	return nil
}

// checkReplayed looks for objects that another place has, and that a closed chain does not cover and never will. One that Replay
// has restored, and that is what the other place's chain says, is no longer owed. Records that only a head mentions stay owed: the
// place that has them must be audited too.
func (a *auditor) checkReplayed(ctx context.Context, w *walk) error {
	lacks := w.behind
	if w.Closed == nil || lacks.from == "" || lacks.told {
		return nil
	}
	w.behind = owedRange{}
	seen := map[uint64]bool{}
	for _, q := range a.places {
		if q == w.p {
			continue
		}
		for m, err := range q.readable(ctx, w.id) {
			if errors.Is(err, errUnread) {
				w.behind = lacks // it may name something that is not here
				return nil
			}
			if err != nil {
				return err
			}
			for i := range m.Segments {
				s := &m.Segments[i]
				if s.Records == 0 || s.First <= w.Last || s.Last > lacks.last || seen[s.Segment] {
					continue
				}
				seen[s.Segment] = true
				if err := a.checkRestoredSegment(ctx, &w.behind, w.p, q, w.id, m, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkRestoredSegment looks at place p for the object of a segment that the chain of place q names. If it is not there, it is
// added to left.
func (a *auditor) checkRestoredSegment(ctx context.Context, left *owedRange, p, q *place, id object.Origin, m *ship.Manifest, s *ship.SegmentLine) error {
	k, ok := objectOf(id, m, s)
	if !ok {
		return nil // reported when its chain was judged
	}
	line := *s
	line.Receipt = &ship.Receipt{Size: s.Size, Checksum: "sha256:" + s.SHA256}
	err := p.requestOf(ctx, line.Key, func(ctx context.Context) error { return p.read(ctx, &line) })
	if other, ok := contentKey(s); ok && errors.Is(err, ship.ErrVerify) && a.kin[id.Lineage()] != nil {
		// Here another copy's object has that key.
		k, _ = object.ParseKey(other)
		line.Key = other
		err = p.requestOf(ctx, line.Key, func(ctx context.Context) error { return p.read(ctx, &line) })
	}
	f := Finding{
		Place: p.name, Class: id.Class, Spool: id.Spool, Epoch: k.Epoch, First: s.First, Last: s.Last, Key: line.Key,
		Other: q.name + ": " + object.ManifestKey(id.Class, id.Spool, m.Header.Epoch, m.Header.Number),
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		left.add(&step{segment: s.Segment, line: s, at: &link{time: m.Header.Time}}, q.name)
		return nil
	case errors.Is(err, ship.ErrVerify):
		f.Code, f.Detail = ObjectAltered, err.Error()
		a.rec.add(f)
	case errors.Is(err, errNotUnderstood):
		f.Code, f.Detail, f.Other = NotUnderstood, err.Error(), ""
		a.rec.add(f)
	case errors.Is(err, errUnread):
		a.reportUnread(f, "", err)
	case err != nil:
		return err
	}
	a.noteNamed(p, &k, &expected{size: s.Size, flags: asked})
	return nil
}

// checkRestored looks for what a place lacks of a group, and returns what is still missing.
func (a *auditor) checkRestored(ctx context.Context, l *lack) (left owedRange, err error) {
	p, q, id := a.places[l.at], l.from.p, l.from.id
	for m, err := range q.readable(ctx, id) {
		if errors.Is(err, errUnread) {
			return l.owedRange, nil // it may name something that is not here
		}
		if err != nil {
			return left, err
		}
		for i := range m.Segments {
			s := &m.Segments[i]
			if s.Records == 0 || s.Segment < l.segments.first || s.Segment > l.segments.last {
				continue
			}
			if err := a.checkRestoredSegment(ctx, &left, p, q, id, m, s); err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

// reportClosedNothing reports the closings of a chain of which no manifest is there: all of it was cut off.
func (a *auditor) reportClosedNothing(ctx context.Context, p *place, id object.Origin, l *listedChain) error {
	for _, key := range l.closings {
		f := Finding{Code: ClosingWrong, Place: p.name, Class: id.Class, Spool: id.Spool, Key: key}
		c, err := p.readClosing(ctx, id, key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, ship.ErrVersion):
			f.Code, f.Detail = NotUnderstood, err.Error()
		case errors.Is(err, ship.ErrVerify):
			f.Detail = "it closes nothing: " + err.Error()
		case errors.Is(err, errUnread):
			a.reportUnread(f, "", err)
			continue
		case err != nil:
			return err
		default:
			f.Code, f.Epoch, f.First, f.Last, f.Other = ChainCut, c.Epoch, min(1, c.Last), c.Last, p.name+": "+key
			f.Key = object.ManifestKey(id.Class, id.Spool, c.Epoch, c.Number)
			f.Detail = fmt.Sprintf("a closing names manifest %d, up to record %d, but there is no chain", c.Number, c.Last)
		}
		a.rec.add(f)
	}
	return nil
}

// noteBeyondEnd gives the finding about an object ahead of a closed chain's end the verdict Closed: no manifest will ever cover the
// object.
func (w *walk) noteBeyondEnd(f *Finding) {
	if w.Closed != nil && f.Code == Uncovered {
		f.Verdict = Closed
		f.Detail += "; the spool is closed, so that no manifest will ever vouch for it"
	}
}
