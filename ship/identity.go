package ship

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// errMoved: the chain continues in another epoch or under another identity, and the lane starts again from its state.
var errMoved = errors.New("ship: the chain continues elsewhere")

// changeChain changes the chain in the spool, and follows.
func (l *lane) changeChain(ctx context.Context, change func() error) error {
	return l.retry(ctx, "chain", func(context.Context) error {
		if err := change(); err != nil {
			return ofHost(err)
		}
		c, err := l.s.sp.Shelf().Chain(l.name)
		if err != nil {
			return err
		}
		l.setCursor(c)
		l.s.changed.Broadcast()
		return nil
	})
}

// goOnRenamed waits until there is something that the chain which was left does not contain, and goes on under the identity that
// is named after it. So whoever has the same, a copy of this volume or its adopter, finds the same name, and whoever has
// something else, another one. more is false if an adopter has nothing more to deliver.
//
// Each destination's chain has its own identities. They share the rule by which they are named: the former
// name, and the first thing that the chain of that name does not contain.
func (l *lane) goOnRenamed(ctx context.Context) (more bool, err error) {
	for {
		wake, sealed := l.s.changed.Next(), l.s.sp.Shelf().Changed()
		c := l.cursor()
		for _, seg := range l.s.sp.Shelf().Sealed(c.Segment, 0) {
			if seg.Last < seg.First && lossless(&seg) { // nothing at all
				err := l.changeChain(ctx, func() error { return l.s.sp.Shelf().Leave(l.name, spool.Left{Segment: seg.Number, Through: c.Through}) })
				if err != nil {
					return false, err
				}
				continue
			}
			var name string
			err := l.retry(ctx, "chain", func(ctx context.Context) (err error) {
				name, err = l.nextIdentity(ctx, &seg)
				return err
			})
			if err == nil {
				err = l.changeChain(ctx, func() error { return l.s.sp.Shelf().Rename(l.name, name) })
			}
			return true, err
		}
		if l.s.sp.Source() != "" {
			return false, nil
		}
		select {
		case <-wake:
		case <-sealed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// nextIdentity names the spool that begins with what a segment holds beyond the chain that was left: with its next record, or, if
// that chain contains its records, with its end, or what was lost until then. The first ten characters are those of the spool
// that it comes from: they tell an auditor that the two are related.
func (l *lane) nextIdentity(ctx context.Context, seg *spool.Segment) (string, error) {
	c := l.cursor()
	h := sha256.New()
	h.Write([]byte(c.Spool))
	if first := max(seg.First, c.Through+1); first <= seg.Last {
		r, err := l.openOwn(ctx, seg, first)
		if err != nil {
			return "", err
		}
		defer r.close()
		seq, rec, err := r.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err // that a disk has refused a record once does not make it damaged: a copy would find another name
		}
		// Without a readable record its place has to do.
		var n [24]byte
		binary.BigEndian.PutUint64(n[:], first)
		if err == nil {
			binary.BigEndian.PutUint64(n[8:], seq)
			binary.BigEndian.PutUint64(n[16:], uint64(rec.Time))
			h.Write(rec.Data)
		}
		h.Write(n[:])
	} else {
		// Two that end a segment alike state it once, and then each its own losses.
		line := lossLine(seg)
		if seg.Last >= seg.First && !c.Stated {
			line = LossLine{Type: line.Type, Segment: line.Segment, After: line.After}
		}
		end, err := json.Marshal(line)
		if err != nil {
			return "", err
		}
		h.Write(end)
	}
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	name := []byte(c.Spool[:object.LineageLen])
	for _, b := range h.Sum(nil)[:len(c.Spool)-object.LineageLen] {
		name = append(name, digits[b&31])
	}
	return string(name), nil
}
