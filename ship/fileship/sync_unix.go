//go:build unix

package fileship

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes the names in a directory durable. synced is false if the file system has no such operation.
func syncDir(dir string) (synced bool, err error) {
	err = syncFile(dir)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS) {
		return false, nil
	}
	return err == nil, err
}

// syncFile makes a file durable that may have been written through another descriptor: fsync(2) applies to the
// file.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
