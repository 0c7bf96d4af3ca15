package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/penstock-go/penstock/examples/reaper/internal/mounter"
)

// mounts lets the mount service mount volumes, since a reaper has no privileges, and sees the result in its own mount
// namespace, into which the host's mounts are propagated.
type mounts struct {
	host
	service *mounter.Client
}

var _ Mounts = mounts{}

// Mount implements Mounts.
func (m mounts) Mount(device string, c Content, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := m.service.Mount(filepath.Base(dir), c.FileSystem); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	at, err := m.At(device)
	if err == nil && !slices.Contains(at, dir) {
		err = fmt.Errorf("%s is mounted at %s, and is not seen here: this process must share the mounts of its host", device, dir)
	}
	return err
}

// Unmount implements Mounts.
func (m mounts) Unmount(device, dir string) error {
	at, err := m.At(device)
	if err != nil {
		return err
	}
	if len(at) > 0 {
		if err := m.service.Unmount(filepath.Base(dir)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.released(device)
}
