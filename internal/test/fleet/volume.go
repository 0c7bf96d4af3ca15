//go:build linux

package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Volume is a disk that can be attached to one machine at a time: a loop device with an ext4 file system. Its image has no name
// and its device frees itself, so that nothing of it outlives this process.
type Volume struct {
	name   string
	device string
	hold   *os.File // keeps the device as long as this process lives

	mu  sync.Mutex
	dir string // where it is mounted; empty: nowhere
}

// newVolume makes a volume of a size. Blocks that are never written need no space. Directories of device nodes are made below dev.
func newVolume(dev, name string, size int64) (*Volume, error) {
	image, err := os.CreateTemp("", "penstock-fleet-*.img")
	if err != nil {
		return nil, err
	}
	defer image.Close()
	if err := errors.Join(os.Remove(image.Name()), image.Truncate(size)); err != nil {
		return nil, err
	}
	v := &Volume{name: name}
	if err := v.loop(dev, image); err != nil {
		return nil, err
	}
	return v, command("mkfs.ext4", "-q", "-F", "-m", "0", v.device)
}

// loop finds a free loop device for the image.
func (v *Volume) loop(dev string, image *os.File) error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	for range 100 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return fmt.Errorf("no loop device: %w", err)
		}
		// /dev need not have the node of a new device.
		v.device = filepath.Join(dev, fmt.Sprint("loop", n))
		if err := unix.Mknod(v.device, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		f, err := os.OpenFile(v.device, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		c := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(f.Fd()), &c)
		if err == nil {
			v.hold = f
			return nil
		}
		f.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else was faster
			return fmt.Errorf("%s: %w", v.device, err)
		}
	}
	return errors.New("no free loop device in 100 attempts")
}

// Attach mounts the volume.
func (v *Volume) Attach(dir string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dir != "" {
		return fmt.Errorf("volume %s is attached to %s", v.name, v.dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(v.device, dir, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount volume %s: %w", v.name, err)
	}
	v.dir = dir
	return nil
}

// Detach unmounts the volume. No process may use it.
func (v *Volume) Detach() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dir == "" {
		return nil
	}
	if err := unix.Unmount(v.dir, 0); err != nil {
		return fmt.Errorf("unmount volume %s: %w", v.name, err)
	}
	v.dir = ""
	return nil
}

// Delete detaches the volume and frees its space.
func (v *Volume) Delete() error {
	return errors.Join(v.Detach(), v.hold.Close())
}
