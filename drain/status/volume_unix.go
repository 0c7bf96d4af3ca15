//go:build unix

package status

import (
	"os"
	"strconv"
	"syscall"
)

// volumeOf identifies the file system of a directory; "" if that is unknown.
func volumeOf(dir string) string {
	fi, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(uint64(st.Dev), 16)
}
