package spool

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-go/penstock/internal/vfs"
)

// Check returns why Open would refuse these options for the spool in dir, nil if it would not: ErrOptions, another class, a file of
// another version, or ErrPending. It takes no lock and changes nothing, so the successor of a process that has the spool open calls
// it before it takes over. If Open refused the options after that, the successor would hold records in memory that no spool accepts.
//
// If a process has the spool open, a destination that is missing in the options is ErrPending even if nothing is pending for it now,
// since that process keeps more records for it. A directory without a spool is accepted.
func (o *Options) Check(dir string) error { return o.check(vfs.OS(), dir) }

func (o *Options) check(fsys vfs.FS, dir string) error {
	opts := o.withDefaults()
	if err := errors.Join(checkDir("Check", dir), opts.validate()); err != nil {
		return err
	}
	id, err := readIdentity(fsys, dir)
	switch {
	case isLost(err):
		return nil // Open makes spool.json, or restores it from the segments
	case err != nil:
		return err
	}
	if err := id.checkClass(dir, opts.Class); err != nil {
		return err
	}
	d, err := readDirectory(fsys, dir)
	if err != nil {
		return err
	}
	var owed []error
	for _, name := range slices.Sorted(maps.Keys(d.Destinations)) {
		x := d.Destinations[name]
		if x.Forgotten || slices.Contains(opts.Destinations, name) || slices.Contains(opts.Forget, name) || x.Pending.Records == 0 && !d.Open {
			continue
		}
		owed = append(owed, fmt.Errorf("%w: %q is missing in Destinations and has at least %d pending records; add it again, or give it up with Forget",
			ErrPending, name, x.Pending.Records))
	}
	return errors.Join(owed...)
}
