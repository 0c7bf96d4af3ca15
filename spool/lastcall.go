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

// called reports whether a batch may exceed the quota and the memory budget: LastCall was called since the batch came in, when
// came was the number of calls, or the batch is from Intake.Keep; and the disk has room for it. j.mu is held.
func (j *journal) called(came uint64, size int64, d door) bool {
	return (j.lastCalls > came || d.last) && !j.noSpace && j.space.leftOnDisk(j.open()) >= withBlocks(size)
}

// overdraw raises the ceiling of the quota for a batch that was accepted because of LastCall or Keep. j.mu is held.
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
