package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/examples/reaper/internal/mounter"
)

// host accesses the devices and mounts of this host.
type host struct{ mounter.Host }

var (
	_ Disks = host{}
	_ Files = host{}
)

func newHost() host { return host{mounter.NewHost()} }

// Probe implements Disks with blkid, without its cache.
func (h host) Probe(ctx context.Context, device string) (Content, error) {
	out, err := exec.CommandContext(ctx, "blkid", "--probe", "--output", "export", device).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.ExitCode() == 2 && len(out) == 0: // nothing, or something unreadable, which Zero finds
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

// zeroTime limits one call of Zero.
const zeroTime = time.Minute

// Zero implements Disks.
func (h host) Zero(ctx context.Context, device string, from int64) (next int64, done, zero bool, err error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return from, false, true, err
	}
	defer f.Close()
	// The pages read here must not displace the collector's pages from the page cache.
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

// released returns an error while any process or mount, in any namespace, has a device open: a remaining mount prevents an
// exclusive open.
func (h host) released(device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("%s is still in use: %w", device, err)
	}
	return f.Close()
}

// ext4Own is how many inodes an ext4 file system uses for itself, including the root and lost+found. With the feature
// orphan_file, which mke2fs 1.47 sets by default, it uses one more for that file, which is in no directory.
const ext4Own = 11

// Inodes implements Files.
func (h host) Inodes(device, dir string) (used uint64, known bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false, fmt.Errorf("%s: %w", dir, err)
	}
	if st.Type != unix.EXT4_SUPER_MAGIC {
		return 0, false, nil
	}
	own := uint64(ext4Own)
	orphanFile, err := hasOrphanFile(device)
	if err != nil {
		return 0, false, err
	}
	if orphanFile {
		own++
	}
	if st.Files-st.Ffree < own {
		return 0, false, nil
	}
	return st.Files - st.Ffree - own, true, nil
}

// hasOrphanFile reads the superblock of an ext4 file system, which begins at byte 1024 (Linux kernel, Documentation/filesystems/ext4,
// "Super Block"): s_magic at 0x38, s_feature_compat at 0x5c.
func hasOrphanFile(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var b [0x60]byte
	if _, err := f.ReadAt(b[:], 1024); err != nil {
		return false, fmt.Errorf("%s: its superblock: %w", device, err)
	}
	if binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		return false, fmt.Errorf("%s: there is no superblock of ext4 where it should be", device)
	}
	return binary.LittleEndian.Uint32(b[0x5c:])&0x1000 != 0, nil
}
