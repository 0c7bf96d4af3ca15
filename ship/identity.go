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

// changeChain changes the chain's state in the spool, and reads it back.
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

// goOnRenamed waits until the spool has a record or a loss that the chain which was left does not contain, and continues
// under an identity that is derived from it. So a copy of this volume, or its adopter, derives the same name from the same
// data only. more is false if an adopter has nothing more to deliver.
//
// Each destination's chain has its own identities. All are derived by one rule: from the former name, and from the first
// record or loss that the chain of that name does not contain.
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

// nextIdentity derives the spool id under which the rest of a segment is delivered after the chain was left. It depends on
// the first record that this chain lacks or, if it lacks none, on the end of the segment or its losses. The first ten
// characters are those of the former id: they show an auditor that the two are related.
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
			return "", err // one refused read does not make a record damaged, and a copy would derive another name
		}
		// If no record is readable, the first sequence number has to suffice.
		var n [24]byte
		binary.BigEndian.PutUint64(n[:], first)
		if err == nil {
			binary.BigEndian.PutUint64(n[8:], seq)
			binary.BigEndian.PutUint64(n[16:], uint64(rec.Time))
			h.Write(rec.Data)
		}
		h.Write(n[:])
	} else {
		// Two copies that end a segment alike state its end once, and then each states its own losses.
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
