package spool

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// Files that are damaged, or are not the segments that their names say, are set aside: moved to damaged/, where the operator looks
// for them. A note of damage names them there.
//
// The note is written after the move. An attempt that failed later, or a process that has died, may have made the move. So
// a note names all files that are in damaged/ under its segment's number, not only those that its writer has moved.

// setAside moves a file from one of the spool's directories to damaged/.
func (s *site) setAside(dir, name string) error {
	if s.source != nil && !s.inWork(s.path(dir, name)) {
		return s.fs.Remove(s.path(dir, name)) // only from the overlay; in the source the file stays where it is
	}
	if err := s.fs.Rename(s.path(dir, name), s.asidePath(name)); err != nil {
		return err
	}
	// In this order the file is never in neither of the two directories after a power cut.
	return errors.Join(s.fs.SyncDir(s.path(damagedDir)), s.fs.SyncDir(s.path(dir)))
}

// asidePath returns a path in damaged/ for a file. It contains the time, because another file of that name may be there, or come
// later.
func (s *site) asidePath(name string) string {
	ext := filepath.Ext(name)
	return s.path(damagedDir, strings.TrimSuffix(name, ext)+"-"+time.Now().UTC().Format("20060102T150405.000000")+ext)
}

// segmentFiles are the files of a segment.
var segmentFiles = []struct{ dir, ext string }{{segDir, segExt}, {stageDir, objExt}, {stageDir, recExt}}

// asideOf names the files of segments first to last that were set aside, by this process or another.
func (s *site) asideOf(first, last uint64) (names []string, err error) {
	entries, err := s.fs.ReadDir(s.path(damagedDir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if kind, n, _ := kindOf(damagedDir, e.Name()); kind == "damaged" && first <= n && n <= last {
			names = append(names, e.Name())
		}
	}
	if s.source == nil {
		return names, nil
	}
	for _, f := range segmentFiles {
		entries, err := s.source.fs.ReadDir(filepath.Join(s.source.dir, f.dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			n, ok := parseName(e.Name(), f.ext)
			if !ok || n < first || n > last {
				continue
			}
			if _, err := s.fs.Stat(s.path(f.dir, e.Name())); errors.Is(err, fs.ErrNotExist) {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}
