package spool

// open returns how many bytes of blocks the active segment still takes, without those that wait in memory for it. j.mu is
// held.
func (j *journal) open() int64 { return j.left - j.tail.unwritten }

// recordBytes is what the log takes of the quota, the active segment in its full length, without what is staged besides. j.mu
// is held.
func (j *journal) recordBytes() int64 {
	n := j.shelf.recordBytes() + j.tail.unwritten
	for _, r := range j.rolled {
		n += r.end
	}
	if j.active != nil {
		n += max(j.active.written, j.opts.SegmentBytes)
	}
	return n
}

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
