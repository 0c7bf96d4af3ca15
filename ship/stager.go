package ship

import (
	"context"
	"errors"
	"io/fs"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// staging is one segment that is being staged. Its results may be read once done is closed.
type staging struct {
	done chan struct{}
	rec  *spool.StageRecord
	err  error
}

// stage returns the stage record of a segment. However many destinations ask, a segment is staged once, and at most
// StageWorkers segments are staged at a time. A segment is staged only when an upload waits for it: a backlog stays in raw
// segments until a destination can receive it, and the windows of the destinations bound the number of staged files.
func (s *Shipper) stage(ctx context.Context, number uint64) (*spool.StageRecord, error) {
	// Another destination may have had it staged long ago.
	if seg := s.sp.Shelf().Sealed(number-1, 1); len(seg) == 1 && seg[0].Number == number && seg[0].Staged {
		return s.stageOrRepair(ctx, number) // it is staged already, so it must not wait for a worker
	}
	s.mu.Lock()
	st := s.staging[number]
	if st == nil {
		st = &staging{done: make(chan struct{})}
		s.staging[number] = st
		// Use Run's context, not the caller's: if one destination stops, the others still need the result. A Claim before Run
		// has only its own context.
		life := s.life
		if life == nil {
			life = ctx
		}
		s.wg.Go(func() { s.runStage(life, number, st) })
	}
	s.mu.Unlock()
	select {
	case <-st.done:
		return st.rec, st.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Shipper) runStage(ctx context.Context, number uint64, st *staging) {
	defer close(st.done)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.staging, number)
	}()
	// Waiters are served in the order in which they came, and each lane asks for its oldest segments first.
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
		st.rec, st.err = s.stageOrRepair(ctx, number)
	case <-ctx.Done():
		st.err = ctx.Err()
	}
}

// stageOrRepair is Shelf.Stage. If the staged file is damaged and nothing else of the segment is left here, it restores the
// file from a destination that has the object.
func (s *Shipper) stageOrRepair(ctx context.Context, number uint64) (*spool.StageRecord, error) {
	rec, err := s.sp.Shelf().Stage(ctx, number, s.enc)
	lost, ok := errors.AsType[*spool.StagedLostError](err)
	if !ok {
		return rec, err
	}
	for _, l := range s.all() {
		// A destination has it under the second key if a copy of the volume has used the first one, see store.
		for _, key := range []string{lost.Record.Key, object.WithHash(lost.Record.Key, lost.Record.RawSHA256)} {
			body, oerr := l.dest.Open(ctx, key)
			if errors.Is(oerr, fs.ErrNotExist) {
				continue
			}
			if oerr == nil {
				oerr = errors.Join(s.sp.Shelf().Restore(ctx, number, body), body.Close())
			}
			if oerr == nil {
				return s.sp.Shelf().Stage(ctx, number, s.enc)
			}
			s.log.Warn("ship: cannot restore a damaged staged file from this destination; trying the others, then retrying", "segment", number, "destination", l.name, "key", key, "err", oerr)
		}
	}
	return nil, err
}
