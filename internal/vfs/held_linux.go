package vfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Held reports whether a process of this host holds the lock of OS at path, and takes none itself: known is false if the system
// does not tell. A process in another PID namespace, such as a container, is not seen.
func Held(path string) (held, known bool) {
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false, false
	}
	for _, name := range []string{path, filepath.Dir(path)} {
		fi, err := os.Lstat(name)
		if err != nil {
			continue
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return false, false
		}
		if listed(string(locks), st) {
			return true, true
		}
	}
	return false, true
}

// listed looks for a lock of flock(2) on a file. Lines are like "1: FLOCK  ADVISORY  WRITE 708 fd:01:393219 0 EOF". btrfs and overlay
// file systems show another device there than stat(2) does, whose major number is 0.
func listed(locks string, st *syscall.Stat_t) bool {
	dev := uint64(st.Dev) // 32 bits on some architectures
	exact := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), st.Ino)
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" {
			continue
		}
		place := fields[5]
		if place == exact || strings.HasPrefix(place, "00:") && strings.HasSuffix(place, fmt.Sprintf(":%d", st.Ino)) {
			return true
		}
	}
	return false
}
