package spool

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// TestTryOffer: it never waits, neither for the quota nor for memory, and its error says whether the ledger has the records.
func TestTryOffer(t *testing.T) {
	for _, policy := range []FullPolicy{Block, Reject} {
		synctest.Test(t, func(t *testing.T) {
			s := memDir().open(t, Options{MaxBytes: 4 << 20, OnFull: policy, SyncInterval: time.Hour})
			began, taken, memory := time.Now(), uint64(0), false
			for {
				_, err := s.TryOffer(batch(int(taken)+1, 1, 10000))
				switch {
				case err == nil:
					taken++
					continue
				case !errors.Is(err, ErrFull):
					t.Fatal(err)
				case !s.Stats().Full: // the memory budget
					memory = true
					synctest.Wait()
					continue
				}
				rejected, ok := errors.AsType[interface {
					error
					Rejected() bool
				}](err)
				if (policy == Reject) != (ok && rejected.Rejected()) {
					t.Errorf("policy %d: %v", policy, err)
				}
				break
			}
			if took := time.Since(began); took != 0 || !memory {
				t.Errorf("policy %d: it took %v; met the memory budget: %v", policy, took, memory)
			}
			mustSeal(t, s)
			l := s.Ledger()
			lost := uint64(0)
			if policy == Reject {
				lost = 1
			}
			if l.Received.Records != taken+lost || l.Kept.Records != taken || l.Lost[segment.SpoolFull].Records != lost || l.Balance() != nil {
				t.Errorf("policy %d: %d were taken: %+v", policy, taken, l)
			}
			closeSpool(t, s)
			if _, err := s.TryOffer(batch(1, 1, 10)); !errors.Is(err, ErrClosed) {
				t.Errorf("a closed spool: %v", err)
			}
		})
	}
}
