package vfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The lock is also refused to other processes, names the holder, and ends when the holder is killed.
func TestLockAcrossProcesses(t *testing.T) {
	if path := os.Getenv("VFS_TEST_LOCK"); path != "" {
		_, err := OS().Lock(path, "the other process")
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	path := filepath.Join(t.TempDir(), "lock")
	child := exec.Command(os.Args[0], "-test.run=^TestLockAcrossProcesses$")
	child.Env = append(os.Environ(), "VFS_TEST_LOCK="+path)
	stdin, err := child.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "<nil>\n" {
		t.Fatalf("child: %q %v", line, err)
	}
	_, err = OS().Lock(path, "me")
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "the other process") {
		t.Errorf("held elsewhere: %v", err)
	}
	must(t, child.Process.Kill())
	_ = child.Wait()
	l, err := OS().Lock(path, "me")
	must(t, err)
	must(t, l.Close())
}

// Allocate reserves blocks if the file system can (tmpfs, ext4, XFS), and keeps the size.
func TestAllocateReserves(t *testing.T) {
	f := create(t, OS(), filepath.Join(t.TempDir(), "f"), "x")
	must(t, f.Allocate(1<<20))
	fi, err := f.(osFile).f.Stat()
	must(t, err)
	if got := fi.Sys().(*syscall.Stat_t).Blocks * 512; got < 1<<20 {
		t.Errorf("%d bytes reserved", got)
	}
	if fi.Size() != 1 {
		t.Errorf("size %d", fi.Size())
	}
}

// A refused allocation can be distinguished from a full disk.
func TestAllocateRefused(t *testing.T) {
	defer func() { fallocate = unix.Fallocate }()
	f := create(t, OS(), filepath.Join(t.TempDir(), "f"), "x")
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.ENODEV, enotsupp} {
		fallocate = func(int, uint32, int64, int64) error { return errno }
		if err := f.Allocate(1 << 20); !errors.Is(err, ErrNotReserved) || !errors.Is(err, errno) {
			t.Errorf("%d: %v", errno, err)
		}
	}
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EIO} {
		fallocate = func(int, uint32, int64, int64) error { return errno }
		if err := f.Allocate(1 << 20); !errors.Is(err, errno) {
			t.Errorf("%v passed for success: %v", errno, err)
		}
	}
}

// The error of a refused call that has no substitute names the likely cause.
func TestRefusedExplains(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP} {
		if err := refused("flock", errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), "flock(2) is refused") {
			t.Errorf("%v", err)
		}
	}
	if err := refused("flock", unix.EIO); err != unix.EIO {
		t.Errorf("%v", err)
	}
}

// The spool's files are not readable for everyone.
func TestMkdirAllPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	must(t, OS().MkdirAll(dir))
	fi, err := os.Stat(dir)
	must(t, err)
	if fi.Mode().Perm()&0o027 != 0 {
		t.Errorf("directory is open to others: %v", fi.Mode())
	}
	f := create(t, OS(), filepath.Join(dir, "f"), "secret")
	fi, err = f.(osFile).f.Stat()
	must(t, err)
	if fi.Mode().Perm()&0o137 != 0 {
		t.Errorf("file is open to others: %v", fi.Mode())
	}
}

// A commit is a write and a sync, and allocates nothing.
func TestCommitDoesNotAllocate(t *testing.T) {
	f := create(t, OS(), filepath.Join(t.TempDir(), "f"), "x")
	block := make([]byte, 512)
	if n := testing.AllocsPerRun(10, func() {
		_, werr := f.WriteAt(block, 0)
		if err := errors.Join(werr, f.Sync()); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Only regular files are opened, and no file makes the open wait: the volume of another host may contain anything.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	fifo, device := filepath.Join(dir, "fifo"), filepath.Join(dir, "device")
	must(t, syscall.Mkfifo(fifo, 0o600))
	must(t, os.Symlink("/dev/zero", device))
	for _, path := range []string{fifo, device, dir} {
		for name, open := range map[string]func() (io.Closer, error){
			"Open":   func() (io.Closer, error) { return OS().Open(path) },
			"OpenRW": func() (io.Closer, error) { return OS().OpenRW(path) },
			"Lock":   func() (io.Closer, error) { return OS().Lock(path, "") },
		} {
			if f, err := open(); err == nil {
				t.Errorf("%s of %s succeeded", name, filepath.Base(path))
				must(t, f.Close())
			}
		}
	}
}

// A process that removes a lock file does not get the lock.
func TestLockFileRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := OS().Lock(path, "me")
	must(t, err)
	must(t, os.Remove(path))
	for _, holder := range []string{"", "another one"} {
		if _, err := OS().Lock(path, holder); !errors.Is(err, ErrLocked) {
			t.Errorf("locked twice, %v", err)
		}
	}
	must(t, l.Close())
	l, err = OS().Lock(path, "another one")
	must(t, err)
	must(t, l.Close())
}

// A process that opened a directory before the lock's holder replaced it gets no lock of that name.
func TestLockReplacedDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "work")
	must(t, os.Mkdir(path, 0o700))
	d, err := os.Open(path)
	must(t, err)
	defer d.Close()
	must(t, isAt(d, path))
	must(t, os.Remove(path))
	if err := isAt(d, path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	must(t, os.Mkdir(path, 0o700))
	if err := isAt(d, path); !errors.Is(err, errReplaced) {
		t.Errorf("replaced: %v", err)
	}
}
