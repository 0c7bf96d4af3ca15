package ship

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// FailureOf is failureOf.
func FailureOf(err error) Failure { return failureOf(err) }

// Changed lets tests wait for a change of state.
func Changed(s *Shipper) <-chan struct{} { return s.changed.Next() }

// CountEncoded counts the segments that are encoded. Call it before the first segment is encoded.
func CountEncoded(s *Shipper, n *atomic.Int64) { s.enc = counting{s.enc, n} }

type counting struct {
	spool.Encoder
	n *atomic.Int64
}

func (c counting) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	c.n.Add(1)
	return c.Encoder.Encode(ctx, dst, src, want)
}

// Places bounds how many tasks run at the same time.
type Places struct{ places }

func NewPlaces(workers int) Places                          { return Places{newPlaces(workers)} }
func (p Places) Enter(ctx context.Context, weight int) bool { return p.enter(ctx, weight) }
func (p Places) Leave(weight int)                           { p.leave(weight) }

func Weight(bytes int64) int { return weight(bytes) }

// TakeOver claims the chain of an adopted spool at one destination.
func TakeOver(ctx context.Context, s *Shipper, dest string) error {
	for _, l := range s.all() {
		if l.name == dest {
			_, err := l.claimChain(ctx, s.o.OwnerTimeout)
			return err
		}
	}
	return nil
}

// Stage is Shipper.stage.
func Stage(ctx context.Context, s *Shipper, number uint64) (*spool.StageRecord, error) {
	return s.stage(ctx, number)
}

// Unsealed is what Finalize asks after it has looked at a destination's chain.
func Unsealed(s *Shipper, dest string, c spool.Chain) bool {
	l, err := s.lane(dest)
	return err == nil && s.unsealed(l, c)
}
