package spool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// A batch above the whole memory budget waits for an empty queue. Others that find room for theirs at each sync must not
// keep it waiting.
func TestLargeBatchComesToItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		var s atomic.Pointer[Spool]
		d := memDir()
		d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
			if s := s.Load(); s != nil && op.Kind == vfs.OpSync { // somebody comes in during each sync, and never waits
				_, _ = s.Offer(ended, batch(1, 1, 100))
			}
			return nil
		})
		sp := d.open(t, Options{MemoryBytes: 1 << 20, SegmentBytes: 4 << 20})
		defer sp.Close()
		mustAppend(t, sp, batch(1, 1, 100))
		s.Store(sp)
		ctx, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if _, err := sp.Append(ctx, batch(1, 2000, 1000)); err != nil {
			t.Errorf("the large batch was not taken within a second: %v", err)
		}
		if _, err := sp.Offer(ctx, batch(1, 1, 100)); err != nil {
			t.Errorf("after it: %v", err)
		}
		s.Store(nil)
	})
}

// A record that this spool can never take ends the wait of the listener that offers it: it is counted as lost.
func TestRecordThatNeverFits(t *testing.T) {
	s := memDir().open(t, fullOptions(Block))
	in := s.Intake()
	n := s.space.quota.largest()
	big := []segment.Record{{Data: make([]byte, n)}}
	in.Account(segment.Account{Received: segment.Tally{Records: 3, Bytes: uint64(n) + 2}})
	small := []segment.Record{{Data: []byte("a")}, big[0], {Data: []byte("b")}}
	_, err := in.Append(t.Context(), small)
	var r interface{ Rejected() bool }
	if !errors.Is(err, ErrTooLong) || errors.As(err, &r) {
		t.Fatalf("a batch that is taken in parts: %v", err)
	}
	for i := range small {
		_, err := in.Append(t.Context(), small[i:i+1])
		if i != 1 && err != nil {
			t.Fatal(err)
		}
		if i == 1 && (!errors.Is(err, ErrTooLong) || !errors.As(err, &r) || !r.Rejected()) {
			t.Errorf("a record that never fits: %v", err)
		}
	}
	if l := s.Ledger(); l.Lost[segment.FrameTooLong] != (segment.Loss{Records: 1, Bytes: uint64(n)}) {
		t.Errorf("lost: %+v", l.Lost)
	}
	balanced(t, s)
}
