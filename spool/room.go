package spool

import "time"

// diskEvery is how often the spool looks at the free space of its file system, and so the longest that an append waits
// after another program has freed some.
const diskEvery = time.Second

// watchDisk looks how full the file system is, and returns when to look again. It never ceases: other programs fill the
// disk and free it without telling anybody, so that this look is the only event that is certain to end a wait for room
// which they have caused. An idle spool looks too, since no sender comes back before the class is ready again.
func (s *Spool) watchDisk() time.Duration {
	s.watchFull() // before those who wait are woken: it counts them
	s.lookAtDisk()
	_ = s.fillInodes()
	return diskEvery
}

// lookAtDisk notes how much the file system has left: others may fill it too.
func (s *Spool) lookAtDisk() {
	total, free, err := s.fs.Space(s.dir)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quota.disk.look(total, free) {
		s.moreRoom()
	}
}

// diskShort reports whether appends find no room because of what others have put on the disk. s.mu is held.
func (s *Spool) diskShort() bool {
	left := s.quota.limit - s.quota.used
	return s.quota.disk.atMost(left) < left && s.roomLeft() < blockRoom
}
