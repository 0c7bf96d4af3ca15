// Mount mounts volumes for the reaper, which has no privileges: see package mounter. Its argument is the directory of the
// orphans. systemd starts it for each connection to penstock-mount.socket, which becomes its standard input and output.
//
//	mount DIRECTORY
package main

import (
	"fmt"
	"os"

	"github.com/penstock-go/penstock/examples/reaper/internal/mounter"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mount DIRECTORY")
		os.Exit(2)
	}
	s := &mounter.Server{Host: mounter.NewHost(), Dir: os.Args[1]}
	if err := s.Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mount:", err)
		os.Exit(1)
	}
}
