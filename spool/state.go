package spool

import (
	"errors"
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// loadState is statefile.Load, with the path in errors that are about the contents: ErrCorrupt if they are damaged. What to do
// next is in the table of statefile.AnswerTo.
func loadState(fsys vfs.FS, path string, max int64, version int, v any) error {
	err := statefile.Load(fsys, path, max, version, v)
	switch {
	case errors.Is(err, statefile.ErrContents):
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	case errors.Is(err, statefile.ErrNewer):
		return fmt.Errorf("%s: %w", path, err)
	}
	return err
}
