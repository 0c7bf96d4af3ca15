package spool

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/internal/wait"
)

// The goroutines of a spool. None of them is on the way of an Append: they do what nobody waits for.

// start starts them. They end with ctx.
func (s *Spool) start(ctx context.Context) {
	for _, f := range []func(context.Context){s.journal.flusher, s.journal.backgroundSync, s.journal.relaySyncs, s.keeper} {
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			f(ctx)
		}()
	}
}

// keeper seals what was rolled, rolls what is old, deletes what was delivered, and keeps a spare segment ready. It does
// so in this order, one after the other: a segment that can be sent comes before disk space that can be won, and both
// before a spare, without which the next roll is slower but not wrong.
func (s *Spool) keeper(ctx context.Context) {
	for {
		again := s.journal.sealRolled()
		again = min(again, s.shelf.prune())
		s.damages.weigh()
		again = min(again, s.journal.keepSpare(), s.journal.rollAged(), s.watchDisk(), s.journal.markDurable())
		if event, err := wait.For(ctx, again, s.work); err != nil && event == wait.Passed { // the next Open deletes what is left
			s.journal.sealRolled() // once more: without it the next Open has to
			return
		}
	}
}

// watchFull says in the log whether the spool is full. The keeper calls it each second.
func (s *Spool) watchFull() {
	r, tell := s.journal.lookFull()
	if !tell {
		return
	}
	q := s.space.usage()
	attrs := []any{
		"class", s.opts.Class, "for", r.lasted,
		"used", units.Size(q.used), "reserve", units.Size(q.reserve), "quota", units.Size(q.limit), "lost", r.lost,
	}
	if r.over {
		s.log.Info("spool: there is room again; appends continue", attrs...)
		return
	}
	attrs = append(attrs, "waiting", r.waiting, s.pendingEach())
	does := "appends wait: TCP and RELP senders are held up, UDP datagrams are lost. "
	if !s.opts.OnFull.waits() {
		does = "records are rejected, and lost. "
	}
	cure := "Restore the destination for which most is pending, or raise the quota"
	if r.disk {
		cure = "The disk is full: delete other files on it"
		attrs = append(attrs, "disk_free", units.Size(q.disk.free))
	}
	s.log.Error("spool: FULL: "+does+cure, attrs...)
}

// pendingEach says what is pending for each destination, as a group of log attributes.
func (s *Spool) pendingEach() slog.Attr {
	pending := s.pending()
	var list []any
	for _, name := range slices.Sorted(maps.Keys(pending)) {
		list = append(list, slog.String(name, units.Records(pending[name].Records, pending[name].Bytes)))
	}
	return slog.Group("pending", list...)
}

// watchDisk looks how full the file system is, and returns when to look again. It never ceases: other programs fill the
// disk and free it without telling anybody, so that this look is the only event that is certain to end a wait for room
// which they have caused. An idle spool looks too, since no sender comes back before the class is ready again.
func (s *Spool) watchDisk() time.Duration {
	s.watchFull() // before those who wait are woken: it counts them
	s.space.lookAtDisk()
	_ = s.space.fillInodes()
	return diskEvery
}

// diskEvery is how often the spool looks at the free space of its file system, and so the longest that an append waits
// after another program has freed some.
const diskEvery = time.Second
