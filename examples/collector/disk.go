package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/penstock-go/penstock/internal/vfs"
)

// shareDisk gives each class without a quota an equal part of 90 % of the file system, and warns when the quotas
// together exceed it: a class that fills the disk would then stop the others.
func shareDisk(c *config, classes []*class, log *slog.Logger) error {
	if err := os.MkdirAll(c.spoolDir, 0o755); err != nil {
		return fmt.Errorf("%w: -spool: %w", errFlags, err)
	}
	total, _, err := vfs.OS().Space(c.spoolDir)
	if err != nil {
		return fmt.Errorf("-spool: %w", err)
	}
	share := total / 10 * 9 / int64(len(classes))
	var sum int64
	for _, cl := range classes {
		if cl.spool.MaxBytes == 0 {
			cl.spool.MaxBytes = share
		}
		sum += cl.spool.MaxBytes
	}
	if sum > total {
		log.Warn("the spools' quotas together exceed the file system: lower -spool-max-bytes",
			"quotas", sum, "file_system", total, "dir", c.spoolDir)
	}
	return nil
}
