package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// shareDisk gives each class without a quota an equal part of 90 % of the file system that its directory is on. It warns if the
// quotas on one file system together exceed that file system: a class that fills the disk would then stop the others. A class
// may have a volume of its own, mounted at DIR/CLASS.
func shareDisk(c *config, classes []*class, log *slog.Logger) error {
	if err := os.MkdirAll(c.spoolDir, 0o755); err != nil {
		return fmt.Errorf("%w: -spool: %w", errFlags, err)
	}
	type volume struct {
		total   int64
		classes []*class
	}
	volumes := map[uint64]*volume{}
	for _, cl := range classes {
		id, total, err := fileSystem(existing(cl.dir))
		if err != nil || total == 0 { // 0: the file system does not say
			log.Warn("cannot check the quota against the size of the file system, so a full disk may stop appends before the quota does: set -spool-max-bytes", "class", cl.name, "dir", cl.dir, "err", err)
			continue // the spool uses its own default, or returns an error that says what is missing
		}
		if volumes[id] == nil {
			volumes[id] = &volume{total: total}
		}
		volumes[id].classes = append(volumes[id].classes, cl)
	}
	for _, v := range volumes {
		var sum int64
		for _, cl := range v.classes {
			if cl.spoolOptions.MaxBytes == 0 {
				cl.spoolOptions.MaxBytes = v.total / 10 * 9 / int64(len(v.classes))
			}
			sum += cl.spoolOptions.MaxBytes
		}
		if sum > v.total {
			log.Warn("the spools' quotas together exceed the file system: lower -spool-max-bytes",
				"quotas", sum, "file_system", v.total, "dir", v.classes[0].dir, "classes", len(v.classes))
		}
	}
	return nil
}

// existing returns dir or, if it does not exist yet, the closest parent that does.
func existing(dir string) string {
	for {
		_, err := os.Stat(dir)
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		return dir
	}
}
