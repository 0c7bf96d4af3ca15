//go:build unix && !linux

package main

import "syscall"

// fileSystem identifies the file system that dir is on, and returns its size in bytes (stat(2), statfs(2)).
func fileSystem(dir string) (id uint64, size int64, err error) {
	var st syscall.Stat_t
	var fs syscall.Statfs_t
	if err := syscall.Stat(dir, &st); err != nil {
		return 0, 0, err
	}
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	return uint64(st.Dev), int64(fs.Blocks) * int64(fs.Bsize), nil
}
