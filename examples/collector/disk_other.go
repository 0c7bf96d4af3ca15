//go:build !unix

package main

import "errors"

func fileSystem(string) (uint64, int64, error) {
	return 0, 0, errors.New("the size of the file system is unknown here: give -spool-max-bytes")
}
