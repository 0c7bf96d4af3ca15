package spool

import "time"

// The goroutines of a spool. None of them is on the way of an Append: they do what nobody waits for.

// start starts them.
func (s *Spool) start() {
	for _, f := range []func(){s.flusher, s.backgroundSync, s.keeper} {
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			f()
		}()
	}
}

// flusher is the spool's clock. It writes what was offered, starts the syncs of SyncInterval, writes the ledger when only that has changed, and
// tries a failing disk again.
func (s *Spool) flusher() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.mu.Lock()
		due := s.due()
		s.mu.Unlock()
		if !due.IsZero() {
			timer.Reset(time.Until(due))
		} else {
			timer.Reset(idleAfter)
		}
		select {
		case <-s.stop:
			return
		case <-s.kick:
			continue // something may be due earlier now; nothing is done sooner for it
		case <-timer.C:
		}
		if due.IsZero() {
			// A burst, or a disk that stood still, may have taken the whole budget.
			s.mu.Lock()
			s.tail.trim(1)
			s.mu.Unlock()
			continue
		}
		s.flush()
	}
}

// idleAfter is after how long without work the memory of a burst is given back.
const idleAfter = 10 * time.Second

// due returns when the flusher has to act next, zero for not at all. s.mu is held.
func (s *Spool) due() (t time.Time) {
	if s.failed != nil {
		return s.retryAt
	}
	if s.urgent {
		return time.Unix(0, 0) // long ago
	}
	earlier := func(u time.Time) {
		if t.IsZero() || u.Before(t) {
			t = u
		}
	}
	if !s.pendingSince.IsZero() {
		earlier(s.pendingSince.Add(s.opts.SyncInterval))
	}
	if !s.dirtySince.IsZero() {
		earlier(s.dirtySince.Add(s.opts.SyncInterval))
	}
	if s.ledgerDirty {
		earlier(s.ledgerTime.Add(ledgerEvery))
	}
	return t
}

// flush does what is due. What was offered is written first and synced afterwards by another goroutine, so that the next
// interval's records do not wait for this one's sync.
func (s *Spool) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil || s.urgent || s.opts.Sync == SyncAlways {
		s.urgent = false
		s.acquire(&s.syncer)
		s.mu.Unlock()
		s.commit()
		s.mu.Lock()
		s.release(&s.syncer)
		return
	}
	now := time.Now()
	if s.ledgerDirty && now.Sub(s.ledgerTime) >= ledgerEvery || !s.pendingSince.IsZero() {
		s.acquire(&s.writer)
		s.mu.Unlock()
		s.write()
		s.mu.Lock()
		s.release(&s.writer)
	}
	if s.opts.Sync == SyncInterval && !s.dirtySince.IsZero() {
		s.dirtySince = time.Time{} // from here on the background sync's affair
		wake(s.syncKick)
	}
}

// backgroundSync syncs while others go on writing. It has a goroutine of its own since an fdatasync can take long, and
// the flusher must not miss its next turn.
func (s *Spool) backgroundSync() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.syncKick:
		}
		s.mu.Lock()
		s.acquire(&s.syncer)
		s.mu.Unlock()
		s.sync()
		s.mu.Lock()
		s.release(&s.syncer)
		s.mu.Unlock()
	}
}

// keeper seals what was rolled, rolls what is old, deletes what was delivered, and keeps a spare segment ready. It does
// so in this order, one after the other: a segment that can be sent comes before disk space that can be won, and both
// before a spare, without which the next roll is slower but not wrong.
func (s *Spool) keeper() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		again := s.sealRolled()
		again = min(again, s.prune())
		s.weighDamaged()
		again = min(again, s.keepSpare(), s.rollAged(), s.watchDisk(), s.markDurable())
		timer.Reset(again)
		select {
		case <-s.stop:
			s.sealRolled() // once more: without it the next Open has to
			return
		case <-s.work:
		case <-timer.C:
		}
	}
}

// never is longer than any wait.
const never = time.Duration(1<<63 - 1)

// keepSpare prepares the segment to come, and returns when to try again.
func (s *Spool) keepSpare() time.Duration {
	s.mu.Lock()
	need := s.spare == nil && s.active != nil && (len(s.quota.pool) > 0 || s.roomLeft() >= s.opts.SegmentBytes)
	s.mu.Unlock()
	if !need {
		return never
	}
	sp, err := s.prepare()
	if err != nil {
		s.log.Warn("spool: cannot prepare the next segment", "class", s.opts.Class, "err", err)
		return retryEvery
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil || sp.number < s.active.number {
		// The writer was faster and has made one itself. Numbers must go up, since segments are read in their order.
		s.mu.Unlock()
		s.discard(sp)
		s.mu.Lock()
		return never
	}
	s.spare = sp
	return never
}

// rollAged ends the active segment when it is old enough, and returns when to look again.
func (s *Spool) rollAged() time.Duration {
	s.mu.Lock()
	a := s.active
	if a == nil {
		s.mu.Unlock()
		return never
	}
	left := s.opts.SegmentAge - time.Since(a.created)
	s.mu.Unlock()
	if left > 0 {
		return left
	}
	// By its number: the writer may have rolled it by size meanwhile, and the next one is not old.
	if err := s.endActive(a.number, false); err != nil {
		return retryEvery
	}
	return never
}
