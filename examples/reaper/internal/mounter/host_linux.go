package mounter

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// At lists where a device is mounted, in the mount namespace of this process.
func (h Host) At(device string) (dirs []string, err error) {
	var want unix.Stat_t
	if err := unix.Stat(device, &want); err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(want.Rdev)), unix.Minor(uint64(want.Rdev)))
	f, err := os.Open(filepath.Join(h.Proc, "self/mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && fields[2] == dev {
			dirs = append(dirs, unescape.Replace(fields[4]))
		}
	}
	return dirs, lines.Err()
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mount mounts a device read-only at a directory, unless it is mounted there. As at every mount, the kernel replays the file
// system's journal: without that (noload), files whose names are only in the journal would be invisible, and the volume might
// look empty.
func (h Host) mount(device, kind, dir string) error {
	at, err := h.At(device)
	switch {
	case err != nil || slices.Contains(at, dir):
		return err
	case len(at) > 0:
		return fmt.Errorf("%s is mounted at %s", device, at[0])
	}
	// The parent directory belongs to root, but the directory itself belongs to the client, who may have replaced it by a link.
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount point %s: %w", dir, err)
	}
	defer unix.Close(fd)
	data := ""
	if kind == "xfs" {
		data = "nouuid" // a copy of a mounted volume has the same UUID
	}
	const flags = unix.MS_RDONLY | unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	if err := unix.Mount(device, fmt.Sprintf("%s/self/fd/%d", h.Proc, fd), kind, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	return nil
}

// unmount unmounts a device from a directory, if it is mounted there.
func (h Host) unmount(device, dir string) error {
	at, err := h.At(device)
	if err != nil || !slices.Contains(at, dir) {
		return err
	}
	if err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
