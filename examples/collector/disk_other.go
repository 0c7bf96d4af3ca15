//go:build !unix

package main

import "errors"

func diskSize(string) (int64, error) {
	return 0, errors.New("the size of the file system is unknown here: give -spool-max-bytes")
}
