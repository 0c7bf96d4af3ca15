package spool

import (
	"errors"
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// loadState is statefile.Load, but errors about the contents name the path, and wrap ErrCorrupt if the contents are damaged. The
// table of statefile.AnswerTo says what to do after an error.
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
