package spool

import "time"

// diskEvery is how often the spool looks at the free space of its file system, and so the longest that an append waits
// after another program has freed some.
const diskEvery = time.Second

// watchDisk looks how full the file system is, and returns when to look again. It never ceases: other programs fill the
// disk and free it without telling anybody, so that this look is the only event that is certain to end a wait for room
// which they have caused. An idle spool looks too, since no sender comes back before the class is ready again.
func (s *Spool) watchDisk() time.Duration {
	s.lookAtDisk()
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
	more := s.quota.disk.look(total, free)
	if s.crowd.note(s.diskShort(), s.roomLeft() >= s.opts.SegmentBytes) {
		s.logCrowd(free)
	}
	if more {
		s.moreRoom()
	}
}

// diskShort reports whether appends find no room because of what others have put on the disk. s.mu is held.
func (s *Spool) diskShort() bool {
	left := s.quota.limit - s.quota.used
	return s.quota.disk.atMost(left) < left && s.roomLeft() < blockRoom
}

// crowd remembers whether others have filled the disk, so that the log says once when that begins and once when it is
// over. It is over only when there is room for a whole segment: near the limit every record would be a line.
type crowd struct{ on bool }

// note takes what a look at the disk has shown, and reports whether that is news.
func (c *crowd) note(short, roomy bool) (news bool) {
	was := c.on
	c.on = short || c.on && !roomy
	return c.on != was
}

// logCrowd tells of the news. s.mu is held.
func (s *Spool) logCrowd(free int64) {
	if !s.crowd.on {
		s.log.Info("spool: the disk has room again", "class", s.opts.Class, "free", free)
		return
	}
	does := "appends wait until there is room again"
	if s.opts.OnFull == Reject {
		does = "records are rejected, and counted as lost, until there is room again"
	}
	s.log.Warn("spool: the disk is full: "+does, "class", s.opts.Class, "dir", s.dir, "free", free,
		"reserved", s.quota.reserve, "used", s.quota.used, "quota", s.quota.limit)
}
