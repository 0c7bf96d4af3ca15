package spool

import (
	"fmt"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// retryEvery is how often a failing disk is tried again. Each try is a new file: one that has failed is never believed.
const retryEvery = time.Second

// retire ends an active segment whose file has failed: it ends where its last good sync was, and what was written behind
// that, all of which is still in memory, is written again to the next one. s.mu is held, and the writer role.
func (s *Spool) retire() {
	a := s.active
	if a == nil || !a.failed.Load() {
		return
	}
	// Those who were told that their records are kept were told so after write(2). That held while the process lived, and
	// it holds on: what the file lost is written again before anything that came later.
	s.tail.rewind()
	s.place = s.placed
	s.lastEnd = *s.ledgerAt(s.place)
	s.ended(a, true)
}

// fail makes the spool refuse appends until a later try succeeds; a full disk is treated like a quota that is used up.
// What was taken stays in memory. Reading and shipping go on. s.mu is held.
func (s *Spool) fail(err error) {
	if s.failed == nil {
		s.log.Error("spool: cannot write, refusing appends until the disk takes them again", "class", s.opts.Class, "err", err)
	}
	s.failed = fmt.Errorf("%w: %w", ErrFailing, err)
	s.noSpace = vfs.IsNoSpace(err)
	s.retryAt = time.Now().Add(retryEvery)
	s.writer.waiting.wakeAll()
	s.syncer.waiting.wakeAll()
	s.room.wakeAll()
	s.cat.changed()
	wake(s.kick)
}

// recovered takes appends again. s.mu is held.
func (s *Spool) recovered() {
	if s.failed == nil {
		return
	}
	s.log.Info("spool: the disk takes writes again", "class", s.opts.Class)
	s.failed, s.noSpace = nil, false
	s.writer.waiting.wakeAll()
	s.syncer.waiting.wakeAll()
	s.room.wakeAll()
	s.cat.changed()
}
