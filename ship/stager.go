package ship

import (
	"context"
	"errors"
	"io/fs"
	"sync"

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
// file from a destination that has the object. For each segment, one call runs at a time: the spool counts the calls before it
// gives the records up, so each must have asked all destinations before the next one begins.
func (s *Shipper) stageOrRepair(ctx context.Context, number uint64) (*spool.StageRecord, error) {
	leave, err := s.repairs.enter(ctx, number)
	if err != nil {
		return nil, err
	}
	defer leave()
	rec, err := s.sp.Shelf().Stage(ctx, number, s.enc)
	lost, ok := errors.AsType[*spool.StagedLostError](err)
	if !ok {
		return rec, err
	}
	unasked := false
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
			unasked = true // it may have the object: an error, or bytes that a middlebox may have sent, are no answer
			s.log.Warn("ship: cannot restore a damaged staged file from this destination; trying the others, then retrying", "segment", number, "destination", l.name, "key", key, "err", oerr)
		}
	}
	if unasked {
		s.sp.Shelf().NoteUnasked(number)
	}
	return nil, err
}

// turns lets one caller at a time work on a segment.
type turns struct {
	mu   sync.Mutex
	busy map[uint64]chan struct{} // closed when the turn ends
}

// enter waits for the caller's turn, which ends with leave.
func (t *turns) enter(ctx context.Context, number uint64) (leave func(), err error) {
	for {
		t.mu.Lock()
		other, busy := t.busy[number]
		if !busy {
			if t.busy == nil {
				t.busy = map[uint64]chan struct{}{}
			}
			mine := make(chan struct{})
			t.busy[number] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.busy, number)
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
