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
	s.space.lookAtDisk()
	_ = s.space.fillInodes()
	return diskEvery
}

// open returns how many bytes of blocks the active segment still takes, without those that wait in memory for it. j.mu is
// held.
func (j *journal) open() int64 { return j.left - j.tail.unwritten }

// hasRoom reports whether records of the given size may be taken. j.mu is held. It is asked before anything is copied, so
// that everything that was taken finds room, unless other programs fill the disk.
func (j *journal) hasRoom(size int64) bool {
	return !j.noSpace && j.space.left(j.open()) >= withBlocks(size)
}

// short reports whether appends find no room, or soon will.
func (j *journal) short() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full || j.space.left(j.open()) < j.opts.SegmentBytes
}

// roomFreed lets those who wait for room look again.
func (j *journal) roomFreed() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.moreRoom()
}

// moreRoom is roomFreed for a caller that holds j.mu.
func (j *journal) moreRoom() {
	if j.full {
		j.full = false
		j.changed.Broadcast()
	}
	j.room.wakeAll()
}
