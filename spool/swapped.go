package spool

import (
	"errors"
	"io"
	"io/fs"
)

// misnamed returns the number that the header of a segment's file says, if the file is this spool's and has another name.
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

// unswap gives two segment files that have each other's name their own, and one whose name is free that name. It reports
// whether it did. What lies under the name afterwards, if anything, is the segment of that number.
func (s *Shelf) unswap(n uint64) (done bool, err error) {
	m, ok := s.misnamed(n)
	if !ok {
		return false, nil
	}
	s.pruning.Lock()
	defer s.pruning.Unlock()
	_, err = s.fs.Stat(s.segPath(m))
	switch back, misnamed := s.misnamed(m); {
	case errors.Is(err, fs.ErrNotExist):
		err = s.fs.Rename(s.segPath(n), s.segPath(m))
	case err != nil:
		return false, err
	case (!misnamed || back != n) && !s.blank(m):
		return false, nil // the other one is right: this is a copy of it, or an older life
	default:
		// By way of damaged/: should this process die in between, the file is kept there, and its records are named.
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
		err = errors.Join(err, s.fs.Rename(aside, s.segPath(n))) // as they were, for the next try
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
