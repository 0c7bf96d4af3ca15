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

// start starts the goroutines of the spool, which end with ctx. Except for the relay, no Append normally waits for them.
func (s *Spool) start(ctx context.Context) {
	for _, f := range []func(context.Context){s.journal.flusher, s.journal.backgroundSync, s.journal.relaySyncs, s.keeper} {
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			f(ctx)
		}()
	}
}

// keeper seals rolled segments, deletes delivered ones, keeps a spare segment ready, and rolls old segments, one task after
// another. Sealing comes first, because it lets a segment be sent; deletion second, because it frees disk space; the spare after
// both, because the next roll is only slower without it.
func (s *Spool) keeper(ctx context.Context) {
	for {
		again := s.journal.sealRolled()
		again = min(again, s.shelf.prune())
		s.damages.weigh()
		again = min(again, s.journal.keepSpare(), s.journal.rollAged(), s.watchDisk(), s.journal.markDurable())
		if event, err := wait.For(ctx, again, s.work); err != nil && event == wait.Passed { // the next Open deletes the rest
			s.journal.sealRolled() // one last time: otherwise the next Open would have to seal
			return
		}
	}
}

// watchFull logs whether the spool is full. The keeper calls it each second.
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

// pendingEach returns the pending records of each destination, as a group of log attributes.
func (s *Spool) pendingEach() slog.Attr {
	pending := s.pending()
	var list []any
	for _, name := range slices.Sorted(maps.Keys(pending)) {
		list = append(list, slog.String(name, units.Records(pending[name].Records, pending[name].Bytes)))
	}
	return slog.Group("pending", list...)
}

// watchDisk checks how full the file system is, and returns when to check again. It never stops: other programs fill the
// disk and free it without notice, so this check is the only event that is certain to end a wait for room
// that they have caused. An idle spool checks too, since senders come back only when the class is ready again.
func (s *Spool) watchDisk() time.Duration {
	s.watchFull() // before the waiting appends are woken, because it counts them
	s.space.lookAtDisk()
	_ = s.space.fillInodes()
	return diskEvery
}

// diskEvery is how often the spool checks the free space of its file system, and so the longest time that an append waits
// after another program has freed space.
const diskEvery = time.Second
