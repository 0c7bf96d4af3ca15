package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// Open opens or creates the spool in dir, and recovers it after an unclean end. After an orderly Close it reads the index and the
// active segment, otherwise also both ends of the segments that the index does not contain.
//
// ErrLocked names the process that has the directory; ErrPending says how many records are pending for a destination that is not in
// Options.Destinations. A spool that a newer program wrote is refused.
func Open(dir string, o *Options) (*Spool, error) {
	return open(dir, vfs.OS(), index.Open, o)
}

// open is Open on any file system and with any index.
func open(dir string, fsys vfs.FS, openIndex index.OpenFunc, o *Options) (*Spool, error) {
	return openFrom(nil, dir, fsys, openIndex, o)
}

// openFrom is open, for an adopted spool with its source.
func openFrom(src *source, dir string, fsys vfs.FS, openIndex index.OpenFunc, o *Options) (*Spool, error) {
	s, err := openStill(src, dir, fsys, openIndex, o)
	if err == nil && src == nil {
		ctx, stop := context.WithCancel(context.Background())
		s.stop = stop
		s.start(ctx)
	}
	return s, err
}

// openStill is openFrom without the spool's goroutines: no segment is deleted or created before the spool is closed.
func openStill(src *source, dir string, fsys vfs.FS, openIndex index.OpenFunc, o *Options) (*Spool, error) {
	opts := o.withDefaults()
	if err := errors.Join(checkDir("Open", dir), opts.validate()); err != nil {
		return nil, err
	}
	s := newSpool(newSite(src, dir, fsys, opts))
	s.patience = newPatience(s.log)
	s.stop = func() {}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := refuseLinks(fsys, dir); err != nil {
		return nil, err
	}
	var err error
	if src != nil && src.work != nil {
		s.lock, src.work = src.work, nil
	} else {
		s.lock, err = fsys.Lock(s.path(lockName), holder(&opts))
	}
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := s.load(openIndex); err != nil {
		s.journal.drop()
		return nil, errors.Join(err, s.shelf.idx.Close(), s.lock.Close())
	}
	st := s.Stats()
	s.log.Info("spool: open", "class", st.Class, "dir", dir, "spool", st.Spool, "epoch", st.Epoch, "segments", st.Segments,
		"used", st.Used, "quota", st.Quota, "took", time.Since(s.opened).Round(time.Millisecond))
	return s, nil
}

// checkDir refuses an empty dir, which would mean the process's current directory.
func checkDir(call, dir string) error {
	if dir == "" {
		return fmt.Errorf("%w: %s needs a directory", ErrOptions, call)
	}
	return nil
}

// newSpool composes a spool whose directory has not been read yet.
func newSpool(at *site) *Spool {
	s := &Spool{site: at, space: newSpace(at)}
	s.damages = &damages{site: at, space: s.space}
	reads := new(refusedReads)
	s.journal = newJournal(at, s.space, s.damages, reads)
	s.shelf = newShelf(at, s.space, s.damages, reads, s.journal, s.journal)
	s.journal.shelf = s.shelf
	s.space.freed = s.journal.roomFreed
	return s
}

// load restores the state of the spool from its directory.
func (s *Spool) load(openIndex index.OpenFunc) error {
	if err := s.makeDirs(); err != nil {
		return err
	}
	if err := s.openQuota(); err != nil {
		return err
	}
	var err error
	if s.id, err = openIdentity(s.patience, s.fs, s.dir, s.opts.Class, s.opts.Instance, s.findIdentity); err != nil {
		return err
	}
	if s.source == nil {
		if err := s.takeBack(); err != nil {
			return err
		}
	}
	if err := s.loadChains(); err != nil {
		return err
	}
	if s.source == nil {
		s.shelf.frozen = s.loadFrozen()
	}
	rebuild, err := s.loadIndex(openIndex)
	if err != nil {
		return err
	}
	if err := s.damages.load(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	r := &recovery{s: s, known: map[uint64]*sealed{}, remains: map[uint64]bool{}, rebuild: rebuild}
	if err := r.run(); err != nil {
		return err
	}
	s.journal.noteResumed()
	if err := s.openDestinations(); err != nil {
		return err
	}
	r.balance()
	s.resumeClock()
	s.takeClocks(r.clean)
	if err := s.checkSmallest(); err != nil {
		return err
	}
	_ = s.space.fillInodes()
	return s.replaceMarks(r)
}

// replaceMarks removes the mark of the last orderly end, and writes the life mark of this process. If there is a mark of an orderly end,
// there is a life mark at any time, which says that the process only opens the spool. Otherwise the life mark comes last, because an Open
// that fails receives nothing, and must not look like a process that died.
func (s *Spool) replaceMarks(r *recovery) error {
	if s.source != nil {
		return s.removeMark()
	}
	begin := func(opening time.Time) error {
		if err := s.journal.beginLife(r.held(), r.ends, opening); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		return nil
	}
	opening := r.orderlyEnd()
	if !opening.IsZero() {
		if err := begin(opening); err != nil {
			return err
		}
	}
	err := s.removeMark()
	if err == nil {
		err = begin(time.Time{})
	}
	if err != nil {
		s.restoreMarks(r, begin)
	}
	return err
}

// restoreMarks tries to leave the marks as the last process left them, for an Open that fails. If the disk refuses that, the next Open
// reports an end that did not happen: too high a bound, and no loss that is hidden.
func (s *Spool) restoreMarks(r *recovery, begin func(opening time.Time) error) {
	switch {
	case r.clean != nil: // the two together prove that this process has received nothing
		_ = begin(r.clean.Time)
		_ = s.writeClean(r.clean)
	case r.life != nil:
		_ = s.journal.writeLife(*r.life)
	default:
		_ = s.journal.endLife()
	}
}

// makeDirs creates the missing directories, and makes durable the changes that an earlier process has made in them: first those in
// damaged/, so that a file that was moved there is never in neither of two directories.
func (s *Spool) makeDirs() error {
	for _, d := range []string{".", damagedDir, segDir, stageDir, chainDir, freeDir} {
		if err := s.fs.MkdirAll(s.path(d)); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if d == segDir {
			if err := s.finishReplaced(); err != nil {
				return fmt.Errorf("spool: %w", err)
			}
		}
		if err := vfs.RemoveTemp(s.fs, s.path(d)); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		// A process that was killed may have renamed a file without syncing the directory. Open acts on that file, for instance by
		// deleting segments. In a power cut the rename could be lost although the deletion is not.
		if err := s.fs.SyncDir(s.path(d)); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	return nil
}

// openQuota compares the quota with the file system. It is called when only directories have been created, so that a spool that
// cannot work is refused before anything else is changed.
func (s *Spool) openQuota() error {
	total, free, err := s.fs.Space(s.dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := checkFileLimit(s.fs, &s.opts); err != nil {
		return err
	}
	q, err := newQuota(&s.opts, total)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	q.disk.look(total, free)
	s.space.setQuota(q)
	switch {
	case total == 0:
		s.log.Warn("spool: the file system does not report its size; only the quota bounds the spool: see that the quota fits", "class", s.opts.Class, "quota", q.limit)
	case q.limit > total:
		s.log.Warn("spool: the quota exceeds the file system, so a full disk stops appends before the quota does: lower Options.MaxBytes", "class", s.opts.Class, "quota", q.limit, "size", total)
	}
	return nil
}

// loadIndex opens the index. rebuild: it must be rebuilt from the segments.
func (s *Spool) loadIndex(openIndex index.OpenFunc) (rebuild bool, err error) {
	ix, rebuild, err := openIndex(s.fs, s.dir, s.log)
	switch {
	case err == nil:
		s.shelf.idx = ix
	case errors.Is(err, index.ErrLost):
		// Everything works without the index, but the next Open takes longer too.
		s.log.Error("spool: continuing without an index; the next start reads the segments themselves, which takes longer, and nothing is lost", "class", s.opts.Class, "err", err)
	default:
		return rebuild, err
	}
	return rebuild, nil
}

// removeMark removes the mark of the last orderly end.
func (s *Spool) removeMark() error {
	// From here on an end is not orderly until Close writes the mark again. If Open failed before this, the mark stays for the next
	// attempt. If the mark stayed now, the next Open would cut off the records that are written from here on.
	err := s.fs.Remove(s.path(cleanName))
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: remove the mark of the last orderly end: %w", err)
	}
	return nil
}

// since returns how long ago t was by the wall clock, at least 0: a time that another process recorded may be in the future.
func since(t time.Time) time.Duration { return max(0, time.Since(t)) }

// resumeClock sets j.begun after recovery: to the latest creation time of a segment, or to a later time that Idle has promised.
func (s *Spool) resumeClock() {
	later := func(t time.Time) {
		if t.After(s.journal.begun) {
			s.journal.begun = t.UTC()
		}
	}
	for _, seg := range s.shelf.cat.after(0, 0) {
		later(seg.Created)
	}
	if s.journal.active != nil {
		later(s.journal.active.header.Created)
	}
	for _, d := range s.shelf.dests {
		later(d.chain.Passed)
	}
	if ahead := time.Until(s.journal.begun); ahead > time.Second {
		s.log.Warn("spool: the clock is behind the newest segment; new segments begin at that segment's time until the clock has passed it: correct the clock", "class", s.opts.Class, "by", ahead)
	}
}
