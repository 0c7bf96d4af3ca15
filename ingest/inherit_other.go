//go:build !unix

package ingest

import (
	"errors"
	"net"
	"os"
)

func closeOnExec(int) {}

func isStream(*os.File) (bool, error) {
	return false, errors.New("sockets cannot be inherited on this system")
}

func setNonblock(net.Listener) error { return nil }
