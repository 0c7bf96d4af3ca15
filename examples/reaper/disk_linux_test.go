package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/examples/reaper/internal/mounter"
)

// loop makes a block device from a file, and a host that knows it as vol-1.
func loop(t *testing.T, size int64) (mounts, string) {
	t.Helper()
	for _, p := range []string{"losetup", "mkfs.ext4", "blkid"} {
		if _, err := exec.LookPath(p); err != nil {
			unable(t, err)
		}
	}
	if os.Getuid() != 0 {
		unable(t, errors.New("loop devices and mounts need root"))
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		unable(t, fmt.Errorf("losetup: %w: %s", err, out))
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	h := newHost()
	h.Serial = func(_ mounter.Host, name string) (string, error) {
		if "/dev/"+name == device {
			return "vol-1", nil
		}
		return "", nil
	}
	return mounts{host: h}, device
}

// servedAt makes this process mount volumes below a directory.
func (m mounts) servedAt(t *testing.T, orphans string) mounts {
	s := &mounter.Server{Host: m.Host, Dir: orphans}
	m.service = &mounter.Client{Dial: func() (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if err := s.Serve(far, far); err != nil {
				t.Error(err)
			}
		}()
		return near, nil
	}}
	return m
}

// unable skips a test. In CI, where everything is installed, it fails instead.
func unable(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// TestMount mounts a real file system as the reaper does: read-only, once, with every inode accounted for.
func TestMount(t *testing.T) {
	h, device := loop(t, 64<<20)
	orphans := t.TempDir()
	dir := filepath.Join(orphans, "vol-1")
	h = h.servedAt(t, orphans)
	if found, err := h.Find("vol-1"); err != nil || found != device {
		t.Errorf("%s, %v", found, err)
	}
	if _, err := h.Find("vol-2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a volume that is not there: %v", err)
	}
	tool(t, "mkfs.ext4", "-q", "-E", "nodiscard", device)
	c, err := h.Probe(t.Context(), device)
	if err != nil || c != (Content{FileSystem: "ext4"}) {
		t.Fatalf("%+v, %v", c, err)
	}
	if at, err := h.At(device); err != nil || len(at) != 0 {
		t.Errorf("%v, %v", at, err)
	}
	if err := h.Mount(device, c, dir); err != nil {
		t.Fatal(err)
	}
	if used, known, err := h.Inodes(device, dir); used != 0 || !known || err != nil {
		t.Errorf("an empty file system has %d inodes, %v, %v", used, known, err)
	}
	if f, err := look(dir); err != nil || f.entries != 0 || len(f.spools)+len(f.strange) != 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("it can be written to: %v", err)
	}
	if at, err := h.At(device); err != nil || len(at) != 1 || at[0] != dir {
		t.Errorf("%v, %v", at, err)
	}
	open, err := os.Open(filepath.Join(dir, "lost+found"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Unmount(device, dir); !errors.Is(err, unix.EBUSY) {
		t.Errorf("while a file is open: %v", err)
	}
	open.Close()
	for range 2 { // as a restarted reaper does after it died in the middle
		if err := h.Unmount(device, dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mount point stays: %v", err)
	}
}

// TestOrphanFile: a file system with an orphan file, which is in no directory, counts as empty like one without.
func TestOrphanFile(t *testing.T) {
	for _, feature := range []string{"^orphan_file", "orphan_file"} {
		h, device := loop(t, 64<<20)
		orphans := t.TempDir()
		dir := filepath.Join(orphans, "vol-1")
		h = h.servedAt(t, orphans)
		if out, err := exec.Command("mkfs.ext4", "-q", "-E", "nodiscard", "-O", feature, device).CombinedOutput(); err != nil {
			t.Skipf("mke2fs before 1.47: %s", out)
		}
		if err := h.Mount(device, Content{FileSystem: "ext4"}, dir); err != nil {
			t.Fatal(err)
		}
		if used, known, err := h.Inodes(device, dir); used != 0 || !known || err != nil {
			t.Errorf("-O %s: an empty file system has %d inodes, %v, %v", feature, used, known, err)
		}
		if err := h.Unmount(device, dir); err != nil {
			t.Error(err)
		}
	}
}

// TestMountElsewhere: while anything else has the device mounted, the volume is not released.
func TestMountElsewhere(t *testing.T) {
	h, device := loop(t, 64<<20)
	tool(t, "mkfs.ext4", "-q", "-E", "nodiscard", device)
	orphans, other := t.TempDir(), t.TempDir()
	dir := filepath.Join(orphans, "vol-1")
	h = h.servedAt(t, orphans)
	if err := h.Mount(device, Content{FileSystem: "ext4"}, dir); err != nil {
		t.Fatal(err)
	}
	tool(t, "mount", "--bind", dir, other)
	if err := h.Unmount(device, dir); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a bind mount has it: %v", err)
	}
	tool(t, "umount", other)
	if err := h.Unmount(device, dir); err != nil {
		t.Error(err)
	}
}

// TestLostFiles: files without a name, after damage, keep the volume from looking empty.
func TestLostFiles(t *testing.T) {
	h, device := loop(t, 64<<20)
	tool(t, "mkfs.ext4", "-q", "-E", "nodiscard", device)
	orphans, mount := t.TempDir(), t.TempDir()
	dir := filepath.Join(orphans, "vol-1")
	h = h.servedAt(t, orphans)
	tool(t, "mount", device, mount)
	for _, p := range []string{"spool", "spool/vpn", "other"} {
		if err := os.Mkdir(filepath.Join(mount, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(mount, "spool/vpn/records"), []byte("only copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "umount", mount)
	check := func(want bool) {
		t.Helper()
		if err := h.Mount(device, Content{FileSystem: "ext4"}, dir); err != nil {
			t.Fatal(err)
		}
		used, known, err := h.Inodes(device, dir)
		f, lerr := look(dir)
		if err := errors.Join(err, lerr, h.Unmount(device, dir)); err != nil {
			t.Fatal(err)
		}
		if lost := used > f.entries; !known || lost != want {
			t.Errorf("%d inodes, %d names", used, f.entries)
		}
	}
	check(false)
	tool(t, "debugfs", "-w", "-R", "unlink /spool/vpn", device) // without freeing its contents
	check(true)
}

// TestJournal: a file whose name is only in the journal, as after a crash of its server, is found.
func TestJournal(t *testing.T) {
	h, device := loop(t, 64<<20)
	tool(t, "mkfs.ext4", "-q", "-E", "nodiscard", device)
	mount, orphans := t.TempDir(), t.TempDir()
	dir := filepath.Join(orphans, "vol-1")
	h = h.servedAt(t, orphans)
	tool(t, "mount", device, mount)
	f, err := os.Create(filepath.Join(mount, "kept"))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	// A copy of the device at this moment: the journal has not been written back.
	b, err := os.ReadFile(device)
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "umount", mount)
	crashed := filepath.Join(t.TempDir(), "crashed")
	if err := os.WriteFile(crashed, b, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "dd", "if="+crashed, "of="+device, "bs=1M", "conv=fsync", "status=none")
	if err := h.Mount(device, Content{FileSystem: "ext4"}, dir); err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(dir, "kept"))
	if err := errors.Join(err, h.Unmount(device, dir)); err != nil {
		t.Error(err)
	}
}

// TestProbe: only a file system is recognised as one, and a device that is not all zero is not empty.
func TestProbe(t *testing.T) {
	h, device := loop(t, 64<<20)
	put := func(at int64, b []byte) {
		t.Helper()
		f, err := os.OpenFile(device, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt(b, at)
			err = errors.Join(err, f.Sync(), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	zero := func() bool {
		t.Helper()
		next, done, zero, err := h.Zero(t.Context(), device, 0)
		if err != nil || zero && (!done || next != 64<<20) {
			t.Fatalf("%d %v %v", next, done, err)
		}
		return zero
	}
	if c, err := h.Probe(t.Context(), device); err != nil || c != (Content{}) || !zero() {
		t.Errorf("new: %+v, %v", c, err)
	}
	put(64<<20-1, []byte{1})
	if c, err := h.Probe(t.Context(), device); err != nil || c != (Content{}) || zero() {
		t.Errorf("one byte at the end: %+v, %v", c, err)
	}
	table := append(make([]byte, 510), 0x55, 0xaa)
	copy(table[446:], []byte{0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 8, 0})
	put(0, table)
	if c, err := h.Probe(t.Context(), device); err != nil || c.FileSystem != "" || !strings.Contains(c.Signature, "partition table") {
		t.Errorf("a partition table: %+v, %v", c, err)
	}
	put(0, make([]byte, 512))
	tool(t, "mkswap", device)
	if c, err := h.Probe(t.Context(), device); err != nil || c.FileSystem != "" || c.Signature != "swap" {
		t.Errorf("swap: %+v, %v", c, err)
	}
	if _, err := h.Probe(t.Context(), "/dev/does-not-exist"); err == nil {
		// blkid reports nothing about a device that it cannot read; Zero does.
		if _, _, _, err := h.Zero(t.Context(), "/dev/does-not-exist", 0); err == nil {
			t.Error("a device that is not there is empty")
		}
	}
}

// TestSerial reads the id of a volume as EC2 writes it.
func TestSerial(t *testing.T) {
	sys := t.TempDir()
	for name, serial := range map[string]string{"nvme1n1": "vol0123456789abcdef0\n", "nvme2n1": "AWS1234", "xvda": ""} {
		dir := filepath.Join(sys, "class/block", name, "device")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if serial != "" {
			if err := os.WriteFile(filepath.Join(dir, "serial"), []byte(serial), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := newHost()
	h.Sys = sys
	if d, err := h.Find("vol-0123456789abcdef0"); err != nil || d != "/dev/nvme1n1" {
		t.Errorf("%s, %v", d, err)
	}
	if d, err := h.Find("vol-1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s, %v", d, err)
	}
}
