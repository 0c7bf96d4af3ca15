package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// host is the kernel of this host.
type host struct {
	sys  string // /sys
	proc string // /proc
	// serial returns the serial number of a block device. Tests, whose devices have none, replace it.
	serial func(h host, name string) (string, error)
}

var (
	_ Disks  = host{}
	_ Mounts = host{}
	_ Files  = host{}
)

func newHost() host { return host{"/sys", "/proc", nvmeSerial} }

// nvmeSerial returns the id of the volume that EC2 gives an NVMe device as its serial number, "" for other devices.
func nvmeSerial(h host, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(h.sys, "class/block", name, "device/serial"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	s := strings.TrimSpace(string(b))
	if id, ok := strings.CutPrefix(s, "vol"); ok && !strings.HasPrefix(id, "-") {
		s = "vol-" + id
	}
	return s, err
}

// Find implements Disks.
func (h host) Find(volume string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(h.sys, "class/block"))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(h.sys, "class/block", e.Name(), "partition")); err == nil {
			continue
		}
		if s, err := h.serial(h, e.Name()); err != nil || s == volume {
			return "/dev/" + e.Name(), err
		}
	}
	return "", fmt.Errorf("no device of %s: %w", volume, fs.ErrNotExist)
}

// Probe implements Disks with blkid, without its cache.
func (h host) Probe(ctx context.Context, device string) (Content, error) {
	out, err := exec.CommandContext(ctx, "blkid", "--probe", "--output", "export", device).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.ExitCode() == 2 && len(out) == 0: // nothing, or nothing that can be read, which Zero finds
		return Content{}, nil
	case errors.As(err, &exit) && exit.ExitCode() == 8:
		return Content{Signature: "several signatures"}, nil
	default:
		return Content{}, fmt.Errorf("blkid %s: %w: %s", device, err, strings.TrimSpace(string(out)))
	}
	has := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		has[name] = value
	}
	switch {
	case has["PTTYPE"] != "":
		return Content{Signature: "a partition table of type " + has["PTTYPE"]}, nil
	case has["TYPE"] == "":
		return Content{Signature: "something without a type"}, nil
	case has["USAGE"] != "filesystem":
		return Content{Signature: has["TYPE"]}, nil
	}
	return Content{FileSystem: has["TYPE"]}, nil
}

// zeroTime is how long Zero reads at a time.
const zeroTime = time.Minute

// Zero implements Disks.
func (h host) Zero(ctx context.Context, device string, from int64) (next int64, done, zero bool, err error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return from, false, true, err
	}
	defer f.Close()
	// What is read must not push out what the collector needs.
	defer func() { _ = unix.Fadvise(int(f.Fd()), from, next-from, unix.FADV_DONTNEED) }()
	end := time.Now().Add(zeroTime)
	buf := make([]byte, 1<<20)
	for next = from; ; {
		n, err := f.ReadAt(buf, next)
		if len(strings.TrimLeft(string(buf[:n]), "\x00")) > 0 {
			return next, false, false, nil
		}
		next += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			if next == 0 {
				return 0, false, true, fmt.Errorf("%s has no bytes", device)
			}
			return next, true, true, nil
		case err != nil:
			return next, false, true, err
		case ctx.Err() != nil || time.Now().After(end):
			return next, false, true, ctx.Err()
		}
	}
}

// At implements Mounts.
func (h host) At(device string) (dirs []string, err error) {
	var want unix.Stat_t
	if err := unix.Stat(device, &want); err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(want.Rdev)), unix.Minor(uint64(want.Rdev)))
	f, err := os.Open(filepath.Join(h.proc, "self/mountinfo"))
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

// Mount implements Mounts. The kernel repeats what is in the file system's journal, as it does at every mount: without that
// (noload), files whose names are only in the journal would not be seen, and the volume might look empty.
func (h host) Mount(device string, c Content, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data := ""
	if c.FileSystem == "xfs" {
		data = "nouuid" // a copy of a volume that is mounted has its id
	}
	const flags = unix.MS_RDONLY | unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	if err := unix.Mount(device, dir, c.FileSystem, flags, data); err != nil {
		return errors.Join(fmt.Errorf("mount %s: %w", device, err), os.Remove(dir))
	}
	return nil
}

// Unmount implements Mounts.
func (h host) Unmount(device, dir string) error {
	at, err := h.At(device)
	if err != nil {
		return err
	}
	if len(at) > 0 {
		if err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A mount in the namespace of another process keeps the device from being opened exclusively.
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("%s is still in use: %w", device, err)
	}
	return f.Close()
}

// ext4Own is how many inodes an ext4 file system uses for itself, the root and lost+found included.
const ext4Own = 11

// Inodes implements Files.
func (h host) Inodes(dir string) (used uint64, known bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false, fmt.Errorf("%s: %w", dir, err)
	}
	if st.Type != unix.EXT4_SUPER_MAGIC || st.Files-st.Ffree < ext4Own {
		return 0, false, nil
	}
	return st.Files - st.Ffree - ext4Own, true, nil
}
