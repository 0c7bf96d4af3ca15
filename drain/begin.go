package drain

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool"
)

// These checks refuse mistakes at the start, by name: at the end it would be too late to find them.

// checkForeign returns what is wrong with the program's own values in the options.
func (o *Options) checkForeign() (errs []error) {
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("drain: "+format, a...)) }
	for i, l := range o.Lifecycles {
		if l != nil && foreign.IsNil(l) {
			bad("Options.Lifecycles[%d] is nil (%T)", i, l)
		}
	}
	if o.Adoptions != nil && foreign.IsNil(o.Adoptions) {
		bad("Options.Adoptions is nil (%T)", o.Adoptions)
	}
	for which, steps := range map[string][]Step{"Before": o.Before, "After": o.After} {
		for i, s := range steps {
			if s.Run == nil {
				bad("Options.%s[%d]: step %q has no Run", which, i, s.Name)
			}
		}
	}
	if err := checkHooks(o.Hooks); err != nil {
		bad("Options.Hooks: %w", err)
	}
	return errs
}

// check returns why a class cannot be added, nil if it can.
func (c *Class) check() error {
	if c.Shipper == nil {
		return errors.New("drain: a class needs a Shipper")
	}
	var errs []error
	st := c.Shipper.Spool().Stats()
	for i, in := range c.Inputs {
		if foreign.IsNil(in) {
			errs = append(errs, fmt.Errorf("drain: class %q: Inputs[%d] is nil (%T)", st.Class, i, in))
		}
	}
	if errors.Is(st.Err, spool.ErrClosed) {
		errs = append(errs, fmt.Errorf("drain: class %q: its spool is closed: %w", st.Class, st.Err))
	}
	return errors.Join(errs...)
}

// makeDirs makes the directories of the journal and the report, and checks that files can be made there. It accepts a full
// disk: a service must be able to start on it, and the drain frees space.
func (o *Options) makeDirs() error {
	var errs []error
	for _, dir := range []string{o.Dir, filepath.Dir(o.ReportFile)} {
		if err := vfs.OS().MkdirAll(dir); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		probe := filepath.Join(dir, ".drain-"+rand.Text())
		f, err := vfs.OS().Create(probe)
		if err == nil {
			err = errors.Join(f.Close(), vfs.OS().Remove(probe))
		}
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EROFS):
			errs = append(errs, fmt.Errorf("drain: %s cannot be written, and the journal and the report of a drain must be: %w", dir, err))
		default:
			o.Logger.Warn("drain: cannot make a file; without its report no drain is complete", "dir", dir, "err", err)
		}
	}
	return errors.Join(errs...)
}

// checkContext refuses a nil context.
func checkContext(ctx context.Context) error {
	if err := wait.CheckContext(ctx); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}
