package spool

// lastCall is Shelf.LastCall.
func (j *journal) lastCall() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lastCalls == 0 {
		j.space.openReserve()
	}
	j.lastCalls++
	j.moreRoom()
}

// called reports whether a batch that came in after so many calls has heard another one since, or is itself the last, and
// the disk can hold it. j.mu is held.
func (j *journal) called(came uint64, size int64, d door) bool {
	return (j.lastCalls > came || d.last) && !j.noSpace && j.space.leftOnDisk(j.open()) >= withBlocks(size)
}

// overdraw accounts for a batch that LastCall has let in. j.mu is held.
func (j *journal) overdraw(size int64) {
	if j.space.raise(j.recordBytes() + withBlocks(size)) {
		j.log.Warn("spool: kept the records that the listeners held at the end, beyond the quota; nothing was lost, and nothing needs to be done", "class", j.opts.Class, "quota", j.space.limit())
	}
}

// shutDoors is Shelf.Shut.
func (j *journal) shutDoors() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.shut = true
	j.room.wakeAll()
}

// lastFound is Shelf.LastAtOpen.
func (j *journal) lastFound() uint64 { return j.found }

// handOver is Shelf.HandOver.
func (j *journal) handOver() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.handed = j.opts.MemoryBytes
}
