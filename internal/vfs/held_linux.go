package vfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Held reports whether a process of this host holds the lock of OS at path. It takes no lock itself. known is false if the
// system does not tell. Processes in other PID namespaces, such as containers, are not seen.
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

// listed looks for a flock(2) lock on a file. Lines are like "1: FLOCK  ADVISORY  WRITE 708 fd:01:393219 0 EOF". On btrfs and
// overlay file systems the device in this list has the major number 0, and differs from that of stat(2).
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
