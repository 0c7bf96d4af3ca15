package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/penstock-go/penstock/internal/vfs"
)

// refuseLinks looks for symbolic links among the names in a spool's directory and those below it. A spool has none, so that
// they were put there: on a volume from elsewhere, they could lead a service that runs as root to files of this host. The
// directory itself may be reached by a link: that is the operator's word.
//
// Files are opened without following links all the same (see vfs): this is for the directories, whose links open(2) would
// follow, and for an answer at the start. Whoever can put a link there while the spool is open can change the spool itself.
func refuseLinks(fsys vfs.FS, dir string) error {
	for _, d := range []string{"", segDir, stageDir, chainDir, freeDir, damagedDir} { // the directory above comes first
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
