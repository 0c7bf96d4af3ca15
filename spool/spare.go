package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/penstock-go/penstock/internal/vfs"
)

// spare is a file that is ready to become the active segment: its name is durable, its blocks are allocated, and
// zeros stand where the header will. So rolling costs one write of a header, not the creation of a file, whose
// directory has to be synced before anything in it is safe.
type spare struct {
	number uint64
	file   vfs.File
}

// prepare makes a spare, of a file from the pool if there is one.
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

// create makes a new file for a segment. Its full size from the start keeps later syncs from having to write the file's
// metadata each time it grows, and its blocks are allocated so that a disk that others fill up meanwhile does not stop
// the log in the middle of a segment.
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

// reuse takes a file from the pool; fs.ErrNotExist if it is empty. Its extents are written already, which makes each
// later sync cheaper by the journal's part. Its old blocks are of another generation and can never pass for new ones.
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
		// Whatever it was, a new file does as well.
		_ = s.fs.Remove(from)
		_ = s.fs.Remove(path)
		s.used(-old.size)
		s.log.Warn("spool: cannot reuse a file; a new one is made instead, and nothing is lost", "class", s.opts.Class, "file", from, "err", err)
		return nil, fs.ErrNotExist
	}
	s.used(s.opts.SegmentBytes - old.size)
	return f, nil
}

// refit makes a spare of a file from the pool. The old header is overwritten, durably, before the file gets its new name:
// a power cut then shows a deleted segment in the pool or a spare, never a segment under another's name.
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

// discard gets rid of a spare. One that is still there in the end is found, and moved to the pool, by the next Open.
func (s *space) discard(sp *spare) {
	_ = sp.file.Close()
	s.unlinkForGood(s.segPath(sp.number), s.opts.SegmentBytes)
}

// reserve takes the blocks of a segment from the disk. Where that is refused a full disk is met at the write instead, which
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

// cut overwrites everything after a torn tail with zeros: valid blocks in it would come back to life once new ones reach them.
// The blocks before it are only now known to be durable.
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

// nextNumber gives a segment number.
func (s *space) nextNumber() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	return s.number
}

// takeSpare takes the spare out; nil if there is none.
func (s *space) takeSpare() *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spare
	s.spare = nil
	return sp
}

// setSpare puts a spare in.
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

// give puts files into the pool, and tells those who wait for room.
func (s *space) give(files []poolFile) {
	s.mu.Lock()
	s.quota.pool = append(s.quota.pool, files...)
	s.mu.Unlock()
	s.freed()
}

// poolTakes reports whether a file of the given size is worth keeping, when more files are on their way into the pool.
func (s *space) poolTakes(size int64, more int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.quota.pool)+more < poolFiles && size >= s.opts.SegmentBytes/4*3 && size <= s.opts.SegmentBytes/4*5
}
