//go:build unix

package main

import "syscall"

// diskSize returns the size of the file system that dir is on, in bytes (statfs(2)).
func diskSize(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Blocks) * int64(st.Bsize), nil
}
