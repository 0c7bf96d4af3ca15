package kube

import (
	"bufio"
	"bytes"
	"path/filepath"
	"strings"
)

// onEmptyDir reports whether dir is in an emptyDir, by the mounts of this process (proc(5), /proc/self/mountinfo). The kubelet
// keeps emptyDirs below a directory of that name on the node. An emptyDir in memory (medium: Memory) is a tmpfs mount. No volume
// that outlives a pod is a tmpfs, so every tmpfs counts as one.
func onEmptyDir(mountinfo []byte, dir string) bool {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	best, empty := 0, false
	for lines := bufio.NewScanner(bytes.NewReader(mountinfo)); lines.Scan(); {
		// 36 35 98:0 /root /mount-point options … - type source options
		f := strings.Fields(lines.Text())
		if len(f) < 5 {
			continue
		}
		point := strings.TrimSuffix(f[4], "/")
		if dir != point && !strings.HasPrefix(dir, point+"/") || len(point) < best {
			continue
		}
		_, after, _ := strings.Cut(lines.Text(), " - ")
		best, empty = len(point), strings.Contains(f[3], "/kubernetes.io~empty-dir/") || strings.HasPrefix(after, "tmpfs ")
	}
	return empty
}
