package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// adoption is the mark that an adopter leaves in the source. It says that everything up to Segment was delivered, and contains the
// state of the chains. If it exists, nothing in the directory is needed any more; Open continues after Segment.
type adoption struct {
	Version  int                  `json:"version"` // 1
	Time     time.Time            `json:"time"`
	Spool    string               `json:"spool"`
	Class    string               `json:"class"`
	Epoch    uint32               `json:"epoch"`
	Instance string               `json:"instance"`
	Segment  uint64               `json:"segment"` // the last one
	Through  uint64               `json:"through"` // the last record
	Ledger   segment.Ledger       `json:"ledger"`
	Chains   map[string]chainFile `json:"chains"`
}

// MarkAdopted marks the source as delivered: a later Adopt returns ErrAdopted, and a later Open deletes the delivered segments,
// continues after them, and begins the next epoch. Every chain must be final; MarkAdopted does not verify the destinations. The
// mark is written completely or not at all. If it cannot be written because the file system is mounted read-only, the error says so,
// and a later adopter learns from the destinations that there is nothing to do.
func (s *Shelf) MarkAdopted() error {
	if s.source == nil {
		return errors.New("spool: MarkAdopted of a spool that was not adopted")
	}
	if err := s.admit(); err != nil {
		return err
	}
	defer s.calls.Done()
	for _, x := range s.Damages() {
		if !x.GivenUp {
			return fmt.Errorf("spool: MarkAdopted: segment %d has damage that nobody has given up: %d records", x.Segment, x.Records)
		}
	}
	m, err := s.adoption()
	if err != nil {
		return err
	}
	s.source.done.Store(true)
	b, err := statefile.Seal(m)
	if err == nil {
		err = vfs.WriteFileAtomic(s.source.fs, adoptedPath(s.source.dir), b)
	}
	if err != nil {
		return fmt.Errorf("spool: mark the adopted spool: %w", err)
	}
	return nil
}

// adoption returns the mark, which describes what was delivered. It is an error if a chain is not final.
func (s *Shelf) adoption() (*adoption, error) {
	m := &adoption{
		Version: 1, Time: time.Now().UTC(), Spool: s.id.Spool, Class: s.id.Class, Epoch: s.id.Epoch, Instance: s.opts.Instance,
		Segment: s.cat.last(), Chains: map[string]chainFile{},
	}
	l, through := s.journal.durableEnd()
	m.Ledger, m.Through = *l, through
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, d := range s.dests {
		c := d.chain
		m.Chains[name] = s.chainFile(name, c, d.delivered)
		if !d.forgotten && (!c.Final || c.Through < m.Through || c.Segment < m.Segment) {
			return nil, fmt.Errorf("spool: MarkAdopted: the chain of %q is not final", name)
		}
	}
	return m, nil
}

// leave releases the locks of the spool and of its source, and removes the adopter's directory if everything is delivered.
func (s *site) leave(lock io.Closer) error {
	switch {
	case s.source == nil:
		return lock.Close()
	case s.source.done.Load():
		return errors.Join(removeWork(s.source.fs, s.dir, lock), s.source.close())
	}
	return errors.Join(lock.Close(), s.source.close())
}

// removeTree removes a directory with its contents, as far as it can: files that it cannot remove are not needed either.
func removeTree(fsys vfs.FS, dir string) {
	entries, _ := fsys.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			removeTree(fsys, path)
		} else {
			_ = fsys.Remove(path)
		}
	}
	_ = fsys.Remove(dir)
}

// errAdoption: the mark of an adoption cannot be used. Nothing depends on the mark.
var errAdoption = errors.New("unusable mark of an adoption")

func adoptedPath(dir string) string { return (&site{dir: dir}).path(adoptedName) }

// loadAdoption reads the mark of a directory; nil if there is none. The error for a damaged mark asks the operator to move it: it is
// not needed, since the destinations show what was delivered.
func loadAdoption(fsys vfs.FS, dir string) (*adoption, error) {
	m := new(adoption)
	err := statefile.Load(fsys, adoptedPath(dir), segment.MaxHeader, 1, m)
	if statefile.AnswerTo(err) == statefile.Absent {
		return nil, nil
	}
	if err == nil {
		// Paths are built from these names, and one of the paths is removed: a disk from another host must not choose which.
		id := identity{Version: identityVersion, Spool: m.Spool, Class: m.Class, Epoch: m.Epoch, Instance: m.Instance, Destinations: map[string]remembered{}}
		for name := range m.Chains {
			id.Destinations[name] = remembered{}
		}
		err = id.validate()
	}
	if err != nil {
		if statefile.AnswerTo(err) != statefile.Refused {
			err = fmt.Errorf("%w: %w", errAdoption, err)
		}
		return nil, fmt.Errorf("spool: %s: %w; if it is damaged, move it to another directory: the destinations tell what was delivered", adoptedPath(dir), err)
	}
	return m, nil
}

// takeBack makes Open continue after an adoption: it takes over the chains as the adopter left them, which is final, and begins the
// next epoch. Segments that the chains cover are deleted later. Each step may be repeated.
func (s *Spool) takeBack() error {
	m, err := loadAdoption(s.fs, s.dir)
	if err != nil || m == nil {
		return err
	}
	if m.Spool != s.id.Spool {
		return fmt.Errorf("%w: %w: %s is of spool %s, this is %s; move it to another directory: it says nothing of this spool",
			ErrCorrupt, errAdoption, s.path(adoptedName), m.Spool, s.id.Spool)
	}
	s.log.Info("spool: continuing after an adoption: another instance has delivered what was here, and this one goes on in the next epoch; nothing needs to be done", "class", s.opts.Class, "adopter", m.Instance, "epoch", m.Epoch, "through", m.Through)
	for name, c := range m.Chains {
		b, err := statefile.Seal(c)
		if err == nil {
			err = vfs.WriteFileAtomic(s.fs, s.chainPath(name), b)
		}
		// A manifest that the old owner had proposed is in the adopter's chain, or never will be.
		if err == nil {
			if err = s.fs.Remove(s.proposalPath(name)); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if _, ok := s.id.Destinations[name]; !ok {
			s.id.Destinations[name] = remembered{Joined: c.Chain.Joined}
		}
	}
	if err := s.fs.SyncDir(s.path(chainDir)); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if m.Epoch >= s.id.Epoch {
		s.id.Epoch = m.Epoch
		if err := s.id.nextEpoch(s.opts.Instance); err != nil {
			return err
		}
	}
	if err := s.id.save(s.fs, s.dir); err != nil {
		return err
	}
	s.space.number = max(s.space.number, m.Segment)
	if err := s.fs.Remove(s.path(adoptedName)); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return s.fs.SyncDir(s.dir)
}

// workBytes returns the size of the adopter's own files.
func (s *site) workBytes() (n int64) {
	for _, dir := range []string{segDir, stageDir, chainDir, damagedDir} {
		entries, err := s.source.fs.ReadDir(s.path(dir))
		if err != nil {
			continue // there is none yet
		}
		for _, e := range entries {
			if fi, err := e.Info(); err == nil {
				n += fi.Size()
			}
		}
	}
	return n
}

// inWork reports whether a file is in the adopter's own directory, and not only in the source.
func (s *site) inWork(path string) bool {
	if s.dir == s.source.dir { // for Inspect, which has none, every file is the source's
		return false
	}
	_, err := s.source.fs.Stat(path)
	return err == nil
}

// Withdraw removes the manifest that is proposed to a destination. Call it only after another manifest was seen under the same
// number: then the proposed one has not arrived, and cannot arrive any more. Without a proposal it does nothing.
func (s *Shelf) Withdraw(dest string) error {
	d, done, err := s.holdChain(dest)
	if err != nil {
		return err
	}
	defer done()
	d.proposal, d.proposed = nil, [32]byte{}
	err = s.fs.Remove(s.proposalPath(dest))
	if err == nil {
		err = s.fs.SyncDir(s.path(chainDir))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: withdraw: %w", err)
	}
	return nil
}
