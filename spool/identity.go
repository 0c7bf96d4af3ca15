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
	// spool's segments or chains must not touch the spool. Otherwise it would add records that no destination ever gets.
	identityVersion = 5
	maxIdentity     = 1 << 20
	maxEpoch        = 999_999 // six digits in the names of objects
)

// identity says which spool a directory holds, and which instance owns it. The header of every segment contains the same, except
// Created, Volume and details of the destinations, so that a lost identity can be restored.
type identity struct {
	Version  int       `json:"version"`
	Spool    string    `json:"spool"` // 26 characters of [0-9a-z]
	Class    string    `json:"class"`
	Epoch    uint32    `json:"epoch"`
	Instance string    `json:"instance"` // the owner in this epoch
	Created  time.Time `json:"created"`
	// Volume is where the directory was when it was last opened.
	Volume *vfs.Volume `json:"volume,omitempty"`
	// Destinations has every destination that this spool ever had to deliver to, by name.
	Destinations map[string]remembered `json:"destinations,omitempty"`
}

// remembered is what a spool knows of a destination even if the options no longer name it.
type remembered struct {
	Joined    uint64    `json:"joined"`             // first sequence number it is owed; 0: not known
	Forgotten time.Time `json:"forgotten,omitzero"` // when the operator gave it up; zero: it was not given up
	// Spool is the spool id of the chain there, if it is not the spool's own. See Shelf.Leave.
	// That chain begins after record Joined-1, in or after the segment that follows Segment; Stated is as in Left.
	Spool   string `json:"spool,omitempty"`
	Segment uint64 `json:"segment,omitempty"`
	Stated  bool   `json:"stated,omitempty"`
}

// errOlder: a spool was written by an older version of this program. This version cannot continue it.
var errOlder = errors.New("spool: made by an older version of this program: drain it with the program that wrote it, and give " +
	"this one another directory")

// newIdentity returns the identity of a new spool.
func newIdentity(class, instance string, now time.Time) *identity {
	return &identity{
		Version: identityVersion, Spool: newSpoolID(now), Class: class, Epoch: 1, Instance: instance, Created: now.UTC(),
		Destinations: map[string]remembered{},
	}
}

// identityOf restores an identity from a segment's header. Pass the header of the newest segment, which contains the latest
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

// loadIdentity reads the identity of the spool in dir and changes nothing, so it may be used on a directory that
// belongs to another process. fs.ErrNotExist: dir holds no spool. ErrCorrupt: the file is damaged. See also statefile.ErrNewer and
// errOlder.
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
	case id.Version > 0 && id.Version < identityVersion && (id.Spool != "" || err != nil): // err: members may have other types
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

// readIdentity is loadIdentity for callers whose result must be that of Open: it retries failed reads, but without Open's pauses.
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
// an empty directory. If the file is missing or damaged, or the disk cannot read it, openIdentity calls find, which returns the
// identity that the other files name, nil if there are none. Another class than the recorded one is refused. Another instance
// starts the next epoch, and so does another volume: then the directory is a copy, perhaps of one that is in use elsewhere, and
// the objects of the two must have different names.
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

// isLost reports whether an error of loadIdentity means that the file cannot be used, so that the identity must be found in the other
// files of the spool. Errors of the process, such as missing permissions, do not mean that.
func isLost(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) || refused(err)
}

// checkClass refuses a second class in a directory: the two would share a quota, and their records could not be told apart.
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

// validate returns one error for everything that is wrong.
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
