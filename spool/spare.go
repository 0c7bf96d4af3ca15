package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/penstock-go/penstock/internal/vfs"
)

// spare is a file that is ready to become the active segment: its name is durable, its blocks are allocated, and
// it has zeros in the place of the header. So rolling only has to write a header. It does not have to create a file, whose
// directory would have to be synced before anything in the file is durable.
type spare struct {
	number uint64
	file   vfs.File
}

// prepare makes a spare, from a file of the pool if there is one.
func (s *space) prepare() (*spare, error) {
	n := s.nextNumber()
	path := s.segPath(n)
	f, err := s.reuse(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("spool: prepare segment %d: %w%s", n, err, s.inodeHint(err))
	}
	return &spare{n, f}, nil
}

// create creates a file for a segment. The file has its full size from the start, so that later syncs do not have to write
// metadata because it grows. Its blocks are allocated, so that the log does not stop in the middle of a segment if other programs
// fill the disk.
func (s *space) create(path string) (vfs.File, error) {
	if err := s.fillInodes(); err != nil {
		return nil, err
	}
	f, err := s.fs.Create(path)
	if err != nil {
		return nil, err
	}
	if err = f.Truncate(s.opts.SegmentBytes); err == nil {
		err = s.reserve(f) // in this order: truncating frees the blocks after the end
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.fs.SyncDir(s.path(segDir))
	}
	if err != nil {
		_ = f.Close()
		_ = s.fs.Remove(path)
		return nil, err
	}
	s.used(s.opts.SegmentBytes)
	return f, nil
}

// reuse takes a file from the pool; fs.ErrNotExist if the pool is empty. The file's extents are written already, so later syncs
// do not involve the file system's journal. Its old blocks have another generation and are never mistaken for new ones.
func (s *space) reuse(path string) (vfs.File, error) {
	old, ok := s.pop()
	if !ok {
		return nil, fs.ErrNotExist
	}
	from := s.freePath(old.number)
	f, err := s.fs.OpenRW(from)
	if err == nil {
		if err = s.refit(f, from, path); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		// Whatever the error is, a new file will do.
		_ = s.fs.Remove(from)
		_ = s.fs.Remove(path)
		s.used(-old.size)
		s.log.Warn("spool: cannot reuse a file; a new one is made instead, and nothing is lost", "class", s.opts.Class, "file", from, "err", err)
		return nil, fs.ErrNotExist
	}
	s.used(s.opts.SegmentBytes - old.size)
	return f, nil
}

// refit makes a spare from a file of the pool. It overwrites the old header, durably, before it renames the file:
// after a power cut there is either a deleted segment in the pool or a spare, never a segment under another's name.
func (s *space) refit(f vfs.File, from, to string) error {
	if _, err := f.WriteAt(make([]byte, headerPad), 0); err != nil {
		return err
	}
	if err := f.Truncate(s.opts.SegmentBytes); err != nil {
		return err
	}
	if err := s.reserve(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := s.fs.Rename(from, to); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.path(segDir)); err != nil {
		return err
	}
	return s.fs.SyncDir(s.path(freeDir))
}

// discard removes a spare. If that fails, the next Open moves the spare to the pool.
func (s *space) discard(sp *spare) {
	_ = sp.file.Close()
	s.unlinkForGood(s.segPath(sp.number), s.opts.SegmentBytes)
}

// reserve allocates the blocks of a segment. If the file system cannot, a write may find a full disk instead, which
// the spool survives as well; the log says so once.
func (s *space) reserve(f vfs.File) error {
	err := f.Allocate(s.opts.SegmentBytes + footerRoom)
	if !errors.Is(err, vfs.ErrNotReserved) {
		return err
	}
	s.warned.Do(func() {
		s.log.Warn("spool: disk blocks cannot be reserved ahead (fallocate(2) is refused by a sandbox or the file system): "+
			"when other files fill the disk, appends wait sooner", "class", s.opts.Class, "dir", s.dir, "err", err)
	})
	return nil
}

// cut replaces the torn tail after end by zeros: otherwise valid blocks in it would count again once new blocks reach them.
// Its sync also makes the blocks before end durable.
func (s *space) cut(f vfs.File, end int64) error {
	if err := f.Truncate(end); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Truncate(s.opts.SegmentBytes); err != nil {
		return err
	}
	if err := s.reserve(f); err != nil {
		return err
	}
	return f.Sync()
}

func (s *space) nextNumber() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	return s.number
}

// takeSpare removes the spare from s and returns it; nil if there is none.
func (s *space) takeSpare() *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spare
	s.spare = nil
	return sp
}

func (s *space) setSpare(sp *spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = sp
}

// wantsSpare reports whether there is no spare, and room for one.
func (s *space) wantsSpare(open int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spare == nil && (len(s.quota.pool) > 0 ||
		s.leftOf(s.quota.disk.atMost(s.quota.limit-s.quota.used), open) >= s.opts.SegmentBytes)
}

// pop takes a file out of the pool.
func (s *space) pop() (poolFile, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quota.pop()
}

// give puts files into the pool, and wakes the appends that wait for room.
func (s *space) give(files []poolFile) {
	s.mu.Lock()
	s.quota.pool = append(s.quota.pool, files...)
	s.mu.Unlock()
	s.freed()
}

// poolTakes reports whether a file of the given size should be put into the pool, when more files are on their way there.
func (s *space) poolTakes(size int64, more int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.quota.pool)+more < poolFiles && size >= s.opts.SegmentBytes/4*3 && size <= s.opts.SegmentBytes/4*5
}
