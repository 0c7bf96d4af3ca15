package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/penstock-go/penstock/internal/vfs"
)

// refuseLinks returns an error if there is a symbolic link in a spool's directory or in those below it. A spool creates none, so
// somebody else has put it there: on a volume from another host, it could lead a service that runs as root to files of this host.
// The path of the spool's directory itself may contain links, because the operator chooses it.
//
// Files are always opened without following links (see vfs). refuseLinks is needed for directories, whose links open(2) would
// follow, and reports links at the start. Anyone who can create a link while the spool is open can also change the spool itself.
func refuseLinks(fsys vfs.FS, dir string) error {
	for _, d := range []string{"", segDir, stageDir, chainDir, freeDir, damagedDir} { // the parent directory first
		entries, err := fsys.ReadDir(filepath.Join(dir, d))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		for _, e := range entries {
			if e.Type()&fs.ModeSymlink != 0 {
				return fmt.Errorf("spool: %s is a symbolic link, and a spool has none: it may lead out of the volume; if it leads nowhere, "+
					"first mount the disk that it leads to; if it leads to a file or directory of this spool, put that in its place; "+
					"remove the link only if it leads to something else",
					filepath.Join(dir, d, e.Name()))
			}
		}
	}
	return nil
}
