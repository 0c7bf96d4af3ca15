// Package limits finds out how much memory and how many descriptors this process may use.
package limits

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// Memory returns how many bytes of memory this process may use, 0 if that is unknown: the least of GOMEMLIMIT, the limits of
// its control groups, and the machine's memory.
func Memory() int64 {
	least := int64(math.MaxInt64)
	note := func(n int64) {
		if n > 0 {
			least = min(least, n)
		}
	}
	note(debug.SetMemoryLimit(-1))
	note(machine())
	for _, file := range groupFiles(readString("/proc/self/cgroup")) {
		n, err := strconv.ParseInt(strings.TrimSpace(readString(file)), 10, 64) // "max": no limit
		if err == nil {
			note(n)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// groupFiles returns the files that may contain a limit for the control groups in /proc/self/cgroup: for the group itself and
// its parents, in both versions of the interface (cgroups(7)). In a container its own group usually is the root.
func groupFiles(groups string) (files []string) {
	for line := range strings.Lines(groups) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		root, name := "", ""
		switch {
		case part[0] == "0" && part[1] == "":
			root, name = "/sys/fs/cgroup", "memory.max"
		case part[1] == "memory":
			root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := filepath.Clean("/" + part[2]); ; dir = filepath.Dir(dir) {
			files = append(files, filepath.Join(root, dir, name))
			if dir == "/" {
				break
			}
		}
	}
	return files
}

func readString(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(b)
}
