package udprelay

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"
)

// stuckLog is a handler whose reader does not read.
type stuckLog struct {
	slog.Handler
	asked, read chan struct{}
}

func (h stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (h stuckLog) Handle(context.Context, slog.Record) error {
	h.asked <- struct{}{}
	<-h.read
	return nil
}

// TestStuckLog: a log that nothing reads blocks neither the periodic work of the relay nor its data path.
func TestStuckLog(t *testing.T) {
	h := stuckLog{slog.DiscardHandler, make(chan struct{}, 10), make(chan struct{})}
	defer close(h.read)
	o := &Options{Mode: Generations, Ports: Ports{First: 42000, Count: 2}, Logger: slog.New(h)}
	u := &User{o: o.withDefaults(), out: newOut(), dropped: map[Cause]uint64{}, senders: make(chan *sender, 1)}
	u.schedule = newSchedule(u.o.Ports, time.Now())
	u.senders <- &sender{}
	u.targets.Store(&[]netip.AddrPort{})
	defer u.closeSenders()
	rotated := make(chan struct{})
	go func() { defer close(rotated); u.rotate() }() // the first generation is logged like any other
	<-h.asked
	if !u.mu.TryLock() {
		t.Fatal("the account is locked while a line is written")
	}
	u.mu.Unlock()
	if len(u.senders) != 1 {
		t.Error("no sender is there while a line is written")
	}
	select {
	case <-rotated:
	case <-time.After(20 * time.Second):
		t.Error("it waits for the log")
	}
}
