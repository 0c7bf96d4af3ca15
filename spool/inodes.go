package spool

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/internal/vfs"
)

// inodes is a reserve of empty files, free/inode-1 and so on. A file system may have no free inode although it has free
// blocks: small files of others, on a volume that was made for few. Staging and acknowledging need some files for as long as
// it takes to delete a segment, and without them a full spool could never empty itself. To give up an inode, one of the
// files is removed.
//
// Only the segment that is the next one for a destination gets them: a later one would keep what it took, its staged file
// and its record, for as long as it waits for the earlier one. New segments get none: those that are deleted leave their
// files to them.
type inodes struct {
	mu   sync.Mutex
	have []bool // each of the files, while it is there
}

const inodePrefix = "inode-"

// inodeFiles is how many there are: for each destination a staged file and its record, and a mark, a manifest that is
// proposed, and temporary files.
func (s *Spool) inodeFiles() int { return 4 + 2*len(s.opts.Destinations) }

func (s *Spool) inodePath(i int) string { return s.path(freeDir, inodePrefix+strconv.Itoa(i+1)) }

// found takes stock of a file that an earlier process has left; false if it is none of the reserve.
func (r *inodes) found(name string, most int) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(name, inodePrefix))
	if !strings.HasPrefix(name, inodePrefix) || err != nil || n < 1 || n > most {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grow(most)
	r.have[n-1] = true
	return true
}

func (r *inodes) grow(n int) {
	if len(r.have) < n {
		r.have = append(r.have, make([]bool, n-len(r.have))...)
	}
}

// fillInodes makes the files that are missing. What the disk refuses now is tried again by the keeper.
func (s *Spool) fillInodes() {
	r := &s.inodes
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grow(s.inodeFiles())
	for i, there := range r.have {
		if there {
			continue
		}
		f, err := s.fs.Create(s.inodePath(i))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return
		}
		if err == nil {
			_ = f.Close()
		}
		r.have[i] = true
	}
}

// inodeHint explains the refusal of a new segment by a disk that has room for it.
func (s *Spool) inodeHint(err error) string {
	if !vfs.IsNoSpace(err) {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quota.disk.known && s.quota.disk.free > s.opts.SegmentBytes+footerRoom {
		return " (although there are free blocks: see `df -i` for inodes, and the quotas of the file system)"
	}
	return ""
}

// giveInode sets an inode free if that may be what err is about: the disk refused to make a file, and has room for size
// bytes. false: it is about something else, or there is none left.
func (s *Spool) giveInode(err error, size int64) bool {
	if !vfs.IsNoSpace(err) || !s.stageRoom(size) {
		return false
	}
	r := &s.inodes
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, there := range r.have {
		if there {
			r.have[i] = false
			return s.fs.Remove(s.inodePath(i)) == nil
		}
	}
	return false
}

// giveInodeTo is giveInode for the staged file of a segment.
func (s *Spool) giveInodeTo(segment uint64, err error, size int64) bool {
	s.mu.Lock()
	next := s.isNext(segment)
	s.mu.Unlock()
	return next && s.giveInode(err, size)
}
