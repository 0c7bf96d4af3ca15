//go:build !linux

package udprelay

import (
	"errors"
	"os"
)

// memoryFile is for nft, which exists on Linux only.
func memoryFile([]byte) (*os.File, error) { return nil, errors.ErrUnsupported }
