package spool

// open returns how many more bytes of blocks fit into the active segment, after those that are in memory. j.mu is held.
func (j *journal) open() int64 { return j.left - j.tail.unwritten }

// recordBytes returns how much of the quota the records use: one file for each segment, with the active segment in its full length.
// j.mu is held.
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

// hasRoom reports whether records of the given size may be accepted. j.mu is held. It is called before records are copied, so
// that there is room for every accepted record, unless other programs fill the disk.
func (j *journal) hasRoom(size int64) bool {
	return !j.noSpace && j.space.left(j.open()) >= withBlocks(size)
}

// short reports whether appends find no room, or soon will find none.
func (j *journal) short() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full || j.space.left(j.open()) < j.opts.SegmentBytes
}

// roomFreed makes the appends that wait for room check again.
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
