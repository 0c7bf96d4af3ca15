package spool

import (
	"errors"
	"io"
	"io/fs"
)

// misnamed returns the segment number in the header of a file, if the file is this spool's and has the name of another segment.
func (s *site) misnamed(n uint64) (m uint64, ok bool) {
	f, err := s.fs.Open(s.segPath(n))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil || h.Segment == n || h.Spool != s.id.Spool || h.Class != s.id.Class {
		return 0, false
	}
	return h.Segment, true
}

// unswap exchanges the names of two segment files that have each other's name. If the right name of a misnamed file is free, unswap
// only renames that file, unless every destination has that segment: its file was deleted, so this one has a copy of its contents in place of
// its own. It reports whether it has renamed anything. Afterwards a file under the name n, if any, is segment n.
func (s *Shelf) unswap(n uint64) (done bool, err error) {
	m, ok := s.misnamed(n)
	if !ok {
		return false, nil
	}
	s.pruning.Lock()
	defer s.pruning.Unlock()
	s.mu.Lock()
	deleted := m <= s.covered()
	s.mu.Unlock()
	_, err = s.fs.Stat(s.segPath(m))
	switch back, misnamed := s.misnamed(m); {
	case errors.Is(err, fs.ErrNotExist) && deleted:
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		err = s.fs.Rename(s.segPath(n), s.segPath(m))
	case err != nil:
		return false, err
	case (!misnamed || back != n) && !s.blank(m):
		return false, nil // the other file has its right name: this one is a copy of it, or has old contents of a recycled file
	default:
		// The first file is moved to damaged/ meanwhile: if this process dies now, the file is kept there, and its records are reported.
		aside := s.path(damagedDir, numberName(m)+"-swapped"+segExt)
		if err = s.fs.Rename(s.segPath(n), aside); err != nil {
			break
		}
		if err = s.fs.Rename(s.segPath(m), s.segPath(n)); err == nil {
			if err = s.fs.Rename(aside, s.segPath(m)); err == nil {
				break
			}
			err = errors.Join(err, s.fs.Rename(s.segPath(n), s.segPath(m)))
		}
		err = errors.Join(err, s.fs.Rename(aside, s.segPath(n))) // restore the names for the next attempt
	}
	if err != nil {
		return false, err
	}
	s.log.Error("spool: segment files had each other's names; the spool renamed them, and nothing is lost: find out who renames files in this directory", "class", s.opts.Class, "segment", n, "and", m)
	return true, s.fs.SyncDir(s.path(segDir))
}

// blank reports whether a segment's file begins with zeros, as a spare does.
func (s *site) blank(n uint64) bool {
	f, err := s.fs.Open(s.segPath(n))
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, headerPad)
	k, err := f.ReadAt(b, 0)
	return (err == nil || err == io.EOF) && allZero(b[:k])
}
