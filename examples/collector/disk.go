package main

import (
	"fmt"
	"log/slog"
	"os"
)

// shareDisk gives each class without a quota an equal part of 90 % of the file system, and warns when the quotas
// together exceed it: a class that fills the disk would then stop the others.
func shareDisk(c *config, classes []*class, log *slog.Logger) error {
	if err := os.MkdirAll(c.spoolDir, 0o755); err != nil {
		return fmt.Errorf("%w: -spool: %w", errFlags, err)
	}
	total, err := diskSize(c.spoolDir)
	if err != nil {
		log.Warn("quotas are not checked against the file system", "err", err)
		return nil // each spool takes its own default
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
