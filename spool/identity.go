package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// identityName is the file that makes a directory a spool.
	identityName = "spool.json"
	// identityVersion also changes with the versions of segments, manifests and their proposals: a program that cannot read a
	// spool's segments or chains must leave the spool to the one that can, untouched. Otherwise it would add records that no
	// destination ever gets.
	identityVersion = 5
	maxIdentity     = 1 << 20
	maxEpoch        = 999_999 // six digits in the names of objects
)

// identity says which spool a directory holds, and who writes it. Everything in it but what is remembered of destinations
// stands in the header of every segment too, so that a lost one can be made again.
type identity struct {
	Version  int       `json:"version"`
	Spool    string    `json:"spool"` // 26 characters of [0-9a-z]
	Class    string    `json:"class"`
	Epoch    uint32    `json:"epoch"`    // who may write the chains
	Instance string    `json:"instance"` // of that epoch
	Created  time.Time `json:"created"`
	// Volume is where the directory was when it was last opened.
	Volume *vfs.Volume `json:"volume,omitempty"`
	// Destinations holds every name this spool ever had to deliver to.
	Destinations map[string]remembered `json:"destinations,omitempty"`
}

// remembered is what a spool knows of a destination when nobody names it any more.
type remembered struct {
	Joined    uint64    `json:"joined"`             // first sequence number it is owed; 0: not known
	Forgotten time.Time `json:"forgotten,omitzero"` // when the operator gave it up; zero: it is owed everything
	// Spool is the identity that the chain there has, if it is not the spool's own. See Spool.Leave.
	// It begins after record Joined-1, in or after the segment that follows Segment; Stated is as in Left.
	Spool   string `json:"spool,omitempty"`
	Segment uint64 `json:"segment,omitempty"`
	Stated  bool   `json:"stated,omitempty"`
}

// errOlder: a spool was written by an older version of this program, which does not continue what that has begun.
var errOlder = errors.New("spool: made by an older version of this program: drain it with the program that wrote it, and give " +
	"this one another directory")

// newIdentity begins a spool.
func newIdentity(class, instance string, now time.Time) *identity {
	return &identity{
		Version: identityVersion, Spool: newSpoolID(now), Class: class, Epoch: 1, Instance: instance, Created: now.UTC(),
		Destinations: map[string]remembered{},
	}
}

// identityOf makes an identity again from a segment's header: the one with the highest number, which knows the latest
// epoch and the destinations up to it.
func identityOf(h *segment.Header) *identity {
	id := &identity{
		Version: identityVersion, Spool: h.Spool, Class: h.Class, Epoch: h.Epoch, Instance: h.Instance, Created: h.Created.UTC(),
		Destinations: map[string]remembered{},
	}
	for name, d := range h.Ledger.Destinations {
		r := remembered{}
		if d.Forgotten {
			r.Forgotten = h.Ledger.Time.UTC()
			if r.Forgotten.IsZero() {
				r.Forgotten = h.Created.UTC()
			}
		}
		id.Destinations[name] = r
	}
	return id
}

// loadIdentity reads the identity of the spool in dir and changes nothing, so that it serves to look at a directory that
// belongs to somebody else. fs.ErrNotExist: dir holds no spool. ErrCorrupt: the file is damaged. statefile.ErrNewer, errOlder: see
// there.
func loadIdentity(fsys vfs.FS, dir string) (*identity, error) {
	path := filepath.Join(dir, identityName)
	id := new(identity)
	err := statefile.Load(fsys, path, maxIdentity, identityVersion, id)
	var newer *statefile.NewerError
	switch {
	case errors.As(err, &newer):
		return nil, fmt.Errorf("%w: %s has version %d, this one knows %d", err, path, newer.Version, identityVersion)
	case err != nil && !errors.Is(err, statefile.ErrContents):
		return nil, fmt.Errorf("spool: %w", err)
	case id.Version > 0 && id.Version < identityVersion && (id.Spool != "" || err != nil): // also if it has members of another shape
		return nil, fmt.Errorf("%w: %s has version %d, this one writes %d", errOlder, path, id.Version, identityVersion)
	case err == nil:
		err = id.validate()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w; the spool makes it again from any segment, stage record or chain state that can be read; if there is none, "+
			"restore it from a copy, or move the whole directory elsewhere and keep it: the class then begins a new spool", ErrCorrupt, path, err)
	}
	if id.Destinations == nil {
		id.Destinations = map[string]remembered{}
	}
	return id, nil
}

// readIdentity is loadIdentity for those that must answer as Open would: it asks the disk again, but without Open's pauses.
func readIdentity(fsys vfs.FS, dir string) (*identity, error) {
	return persist(nil, func(bool) (*identity, error) { return loadIdentity(fsys, dir) })
}

// save replaces the identity of dir, durably.
func (id *identity) save(fsys vfs.FS, dir string) error {
	if err := id.validate(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	data, err := statefile.Seal(id)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, identityName), data); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// openIdentity returns the identity of the spool in dir, whose lock the caller holds: the recorded one, or a new one for
// an empty directory. If the file is missing or damaged, or the disk does not return it, find is asked for the identity that the other files tell of; nil means
// that there are none. Another class than the recorded one is refused. Another instance starts the next epoch, and so does
// another place: the directory is a copy then, perhaps of one that is in use elsewhere. So the objects of the two have
// different names.
func openIdentity(p *patience, fsys vfs.FS, dir, class, instance string, find func() (*identity, error)) (*identity, error) {
	id, err := persist(p, func(bool) (*identity, error) { return loadIdentity(fsys, dir) })
	changed := err != nil
	if isLost(err) {
		found, serr := find()
		switch {
		case serr != nil && errors.Is(err, fs.ErrNotExist):
			return nil, serr
		case serr != nil:
			return nil, errors.Join(err, serr)
		case found != nil:
			id, err = found, nil
		case errors.Is(err, fs.ErrNotExist):
			id, err = newIdentity(class, instance, time.Now()), nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := id.checkClass(dir, class); err != nil {
		return nil, err
	}
	volume := vfs.VolumeOf(fsys, dir)
	copied := volume.Differs(id.Volume)
	if id.Instance != instance || copied {
		if err := id.nextEpoch(instance); err != nil {
			return nil, err
		}
		changed = true
	}
	if volume != nil && (id.Volume == nil || *volume != *id.Volume) {
		id.Volume, changed = volume, true
	}
	if changed {
		if err := id.save(fsys, dir); err != nil {
			return nil, err
		}
	}
	return id, nil
}

// isLost reports whether an error of loadIdentity says that the file is of no use, so that the other files of the spool have to name
// it. An error that does not concern the file, such as a lack of rights, is none.
func isLost(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) || refused(err)
}

// checkClass refuses a directory for a second class: the two would share a quota, and nobody could tell them apart.
func (id *identity) checkClass(dir, class string) error {
	if id.Class == class {
		return nil
	}
	return fmt.Errorf("spool: %s holds class %q, not %q: every class needs a directory of its own", dir, id.Class, class)
}

// nextEpoch makes instance the writer of the chains from now on. The caller saves.
func (id *identity) nextEpoch(instance string) error {
	if id.Epoch >= maxEpoch {
		return fmt.Errorf("spool: epoch %d is the last one there is: drain this spool and begin a new one", id.Epoch)
	}
	id.Epoch++
	id.Instance = instance
	return nil
}

// validate joins all that is wrong.
func (id *identity) validate() error {
	var errs []error
	if id.Version < 1 {
		errs = append(errs, fmt.Errorf("version %d does not exist", id.Version))
	}
	errs = append(errs, segment.CheckSpoolID(id.Spool))
	if id.Epoch < 1 || id.Epoch > maxEpoch {
		errs = append(errs, fmt.Errorf("epoch %d is not between 1 and %d", id.Epoch, maxEpoch))
	}
	errs = append(errs, segment.CheckClass(id.Class), checkInstance(id.Instance))
	for name, d := range id.Destinations {
		errs = append(errs, segment.CheckDestination(name))
		if d.Spool != "" {
			errs = append(errs, segment.CheckSpoolID(d.Spool))
		}
	}
	return errors.Join(errs...)
}
