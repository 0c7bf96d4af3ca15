package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// If spool.json is gone or damaged, the other files name the spool: any segment's header, the chain states, the
// stage records and the note of the newest segment. A directory whose files may hold records but name no spool is refused: under a
// new identity these records would never be delivered.

// findIdentity returns the identity that the files of the spool name; nil if there are none.
func (s *site) findIdentity() (*identity, error) {
	id, err := s.namedIdentity()
	if id == nil && err == nil {
		err = s.refuseNameless()
	}
	return id, err
}

// namedIdentity is findIdentity for a caller that creates no new identity.
func (s *site) namedIdentity() (*identity, error) {
	all := s.witnesses()
	id, err := all[0]()
	if id != nil && err == nil {
		err = s.addJoined(id)
	}
	if id != nil || err != nil {
		return id, err
	}
	for _, of := range all[1:] {
		found, err := of()
		if err != nil {
			return nil, err
		}
		if id, err = id.join(found); err != nil {
			return nil, err
		}
	}
	if id == nil || id.Class == "" {
		return nil, nil
	}
	id.Instance = "unknown" // spool.json may have named a later instance, so the next epoch must begin
	return id, nil
}

// witnesses returns a function for each kind of file that names the identity: first segments, which contain all of it.
func (s *site) witnesses() []func() (*identity, error) {
	return []func() (*identity, error){s.identityOfSegments, s.identityOfStages, s.identityOfBegun, s.identityOfChains}
}

// join combines the identities that two files of one spool name. Either may be nil.
func (id *identity) join(other *identity) (*identity, error) {
	switch {
	case id == nil:
		return other, nil
	case other == nil:
		return id, nil
	case id.Spool != other.Spool:
		return nil, fmt.Errorf("%w: spool.json cannot be read, and the other files are of two spools, %s and %s: restore spool.json from a copy, "+
			"or move the whole directory elsewhere and keep it: the class then begins a new spool", ErrCorrupt, id.Spool, other.Spool)
	}
	id.Epoch = max(id.Epoch, other.Epoch)
	id.Class = cmp.Or(id.Class, other.Class)
	for name, rem := range other.Destinations {
		if id.Destinations[name] == (remembered{}) {
			id.Destinations[name] = rem
		}
	}
	return id, nil
}

// identityOfSegments returns the identity that the newest readable segment names; nil if there is none.
func (s *site) identityOfSegments() (*identity, error) {
	numbers, err := s.listSegments()
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(numbers) {
		f, err := s.fs.Open(s.segPath(n))
		if err != nil {
			return nil, err
		}
		h, err := readHeader(f)
		_ = f.Close()
		if err == nil {
			return identityOf(h), nil
		}
	}
	return nil, nil
}

// identityOfStages returns the identity that the newest readable stage record names; nil if there is none.
func (s *site) identityOfStages() (*identity, error) {
	entries, err := s.fs.ReadDir(s.path(stageDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range slices.Backward(entries) { // ascending, like the numbers in their names
		n, ok := parseName(e.Name(), recExt)
		if !ok {
			continue
		}
		rec := new(StageRecord)
		err := loadState(s.fs, s.recPath(n), maxStageRecord, 1, rec)
		if statefile.AnswerTo(err) == statefile.Refused {
			return nil, err
		}
		if err != nil {
			continue
		}
		if h, err := segment.DecodeHeader(rec.Header); err == nil && h.Spool == rec.Spool {
			return identityOf(h), nil
		}
	}
	return nil, nil
}

// identityOfBegun returns the identity that the note of the newest segment names; nil if there is none. The note contains neither
// the class nor the destinations: both are taken from the options, and the shipper learns from the destinations where the chains
// end.
func (s *site) identityOfBegun() (*identity, error) {
	b, err := loadBegun(s.fs, s.path(begunName), "")
	if statefile.AnswerTo(err) == statefile.Refused {
		return nil, err
	}
	if err != nil || b == nil {
		return nil, nil
	}
	id := &identity{
		Version: identityVersion, Spool: b.Spool, Class: s.opts.Class, Epoch: b.Epoch, Instance: b.Instance, Created: b.Created.UTC(),
		Destinations: map[string]remembered{},
	}
	for _, name := range s.opts.Destinations {
		id.Destinations[name] = remembered{}
	}
	return id, nil
}

// identityOfChains returns the identity that the chain states name, nil if there are none, or if they name several spools. It is for
// a spool whose records were all delivered and deleted: its numbers must still continue.
func (s *site) identityOfChains() (*identity, error) {
	entries, err := s.fs.ReadDir(s.path(chainDir))
	if err != nil {
		return nil, err
	}
	id := &identity{
		Version: identityVersion, Class: s.opts.Class, Epoch: 1, Instance: "unknown", Created: time.Now().UTC(), Destinations: map[string]remembered{},
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), stateExt)
		if !ok || segment.CheckDestination(name) != nil {
			continue
		}
		var f chainFile
		err := loadState(s.fs, s.chainPath(name), maxChainFile, 1, &f)
		if statefile.AnswerTo(err) == statefile.Damaged {
			id.Destinations[name] = remembered{} // damaged too: one readable state is enough, and the shipper rebuilds this one
			continue
		}
		if err != nil || f.Spool == "" || id.Spool != "" && f.Spool != id.Spool {
			return nil, nil
		}
		if id.Class == "" {
			id.Class = f.Class // an adopter's options name no class
		}
		id.Spool, id.Epoch = f.Spool, max(id.Epoch, f.Chain.Epoch)
		id.Destinations[name] = remembered{Joined: f.Chain.Joined}
	}
	if id.Spool == "" || id.Class == "" {
		return nil, nil
	}
	return id, nil
}

// addJoined adds the destinations that have a chain state but are not named in the newest segment's header: they have joined since.
// Without them an adopter would deliver everything to the others, and mark the volume as delivered. A destination that was given up
// since then has to be given up once more.
func (s *site) addJoined(id *identity) error {
	entries, err := s.fs.ReadDir(s.path(chainDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), stateExt)
		if _, known := id.Destinations[name]; !ok || known || segment.CheckDestination(name) != nil {
			continue
		}
		var f chainFile
		switch err := loadState(s.fs, s.chainPath(name), maxChainFile, 1, &f); {
		case statefile.AnswerTo(err) == statefile.Refused:
			return err
		case err != nil: // the shipper rebuilds it
			id.Destinations[name] = remembered{}
		case f.Spool == "" || f.Spool == id.Spool:
			id.Destinations[name] = remembered{Joined: f.Chain.Joined}
		}
	}
	return nil
}

// refuseNameless returns an error if the directory has files that may hold records.
func (s *site) refuseNameless() error {
	for _, dir := range []string{segDir, stageDir, damagedDir} {
		entries, err := s.fs.ReadDir(s.path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			holds, err := s.mayHoldRecords(dir, e.Name())
			if err != nil {
				return err
			}
			if holds {
				return fmt.Errorf("%w: %s has no spool.json, and %s may hold records, but nothing in the directory says of which spool: restore "+
					"spool.json from a copy, or move the whole directory elsewhere and keep it: the class then begins a new spool", ErrCorrupt, s.dir, s.path(dir, e.Name()))
			}
		}
	}
	return nil
}

// mayHoldRecords reports whether a file may hold records: it is neither a note, nor a segment that was prepared and never used.
func (s *site) mayHoldRecords(dir, name string) (bool, error) {
	if strings.HasSuffix(name, noteExt) || strings.HasSuffix(name, givenUpExt) {
		return false, nil
	}
	if dir != segDir {
		return true, nil
	}
	f, err := s.fs.Open(s.path(dir, name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, headerPad)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return true, nil // it is not known
	}
	return !allZero(b[:n]), nil
}

// readHeader reads only the header of a segment.
func readHeader(f io.ReaderAt) (*segment.Header, error) {
	for size := headerPad; ; size = segment.MaxHeader { // few ledgers need more than a page
		b := make([]byte, size)
		n, err := f.ReadAt(b, 0)
		if n == 0 && err != nil && err != io.EOF {
			return nil, err
		}
		h, err := segment.DecodeHeader(b[:n])
		if err == nil || n < size || size == segment.MaxHeader {
			return h, err
		}
	}
}
