package ship

import (
	"path/filepath"
	"strings"

	"github.com/penstock-go/penstock/internal/foreign"
)

// location returns where a destination is, "" if it does not say.
func location(d Destination) (at string, err error) {
	l, ok := d.(Locator)
	if !ok {
		return "", nil
	}
	err = foreign.Catch("Destination.Location", func() error { at = l.Location(); return nil })
	return at, err
}

// isInside reports whether a location is a directory of this host that is dir or below it; "" is no directory.
func isInside(location, dir string) bool {
	path, local := strings.CutPrefix(location, "file://")
	if !local || dir == "" {
		return false
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil { // a Location is resolved too
		dir = resolved
	}
	rel, err := filepath.Rel(dir, filepath.FromSlash(path))
	return err == nil && filepath.IsLocal(rel)
}
