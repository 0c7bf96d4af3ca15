//go:build !unix

package fileship

import (
	"errors"
	"os"
)

// syncDir: directories cannot be opened for syncing here.
func syncDir(string) (synced bool, err error) { return false, nil }

// syncFile makes a file durable; FlushFileBuffers needs a handle that may write.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
