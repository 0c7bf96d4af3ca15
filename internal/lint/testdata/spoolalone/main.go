// Spoolalone imports the spool and nothing else of Penstock.
package main

import (
	"fmt"
	"os"

	"github.com/penstock-go/penstock/spool"
)

func main() {
	s, err := spool.Open(os.Args[1], nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
