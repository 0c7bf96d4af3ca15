package spool

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// A disk that refuses every write is reported, tried again, and used again once it works. Nothing that was taken is lost,
// and what is sealed can be read and delivered meanwhile.
func TestFailingDiskRecovers(t *testing.T) {
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, policy := range []SyncPolicy{SyncAlways, SyncInterval, SyncNone} {
			synctest.Test(t, func(t *testing.T) { testFailingDisk(t, err, policy) })
		}
	}
}

func testFailingDisk(t *testing.T, fault error, policy SyncPolicy) {
	d := memDir()
	var broken atomic.Bool
	d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
		if broken.Load() && op.Kind.Mutates() {
			return fault
		}
		return nil
	})
	s := d.open(t, Options{Sync: policy, OnFull: Reject, Destinations: []string{"a"}})
	defer s.Close()
	n := 0
	add := func(k int) error {
		last, err := s.Append(t.Context(), batch(n+1, k, 400))
		n = max(n, int(last))
		return err
	}
	if err := add(10); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, s)
	if _, err := s.shelf.Stage(t.Context(), 1, lineEncoder{}); err != nil {
		t.Fatal(err)
	}
	if err := add(10); err != nil {
		t.Fatal(err)
	}

	broken.Store(true)
	if err := add(10); !errors.Is(err, ErrFailing) || !errors.Is(err, fault) {
		t.Fatalf("append to a broken disk: %v", err)
	}
	want := ErrFailing
	if fault == syscall.ENOSPC {
		want = ErrFull // a full disk is like a quota that is used up
	}
	if err := add(10); !errors.Is(err, want) {
		t.Fatalf("second append to a broken disk: %v", err)
	}
	if s.Stats().Err == nil {
		t.Error("Stats do not say so")
	}
	if _, err := s.Offer(t.Context(), batch(n+1, 10, 400)); err == nil {
		n += 10 // into memory, as long as that lasts
	} else if fault == syscall.EIO {
		t.Fatal(err)
	}
	if _, err := s.shelf.Stage(t.Context(), 1, lineEncoder{}); err != nil {
		t.Errorf("what is staged cannot be read: %v", err)
	}
	time.Sleep(10 * time.Second)
	if s.Stats().Err == nil {
		t.Error("recovered although the disk is still broken")
	}

	broken.Store(false)
	time.Sleep(2 * retryEvery)
	if err := s.Stats().Err; err != nil {
		t.Fatalf("not recovered: %v", err)
	}
	if err := add(10); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitDurable(t.Context(), uint64(n)); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, s)
	wantRecords(t, stageAll(t, s), n, 400)
	balanced(t, s)
	deliver(t, s, "a", lastSegment(s))
	balanced(t, s)
}
