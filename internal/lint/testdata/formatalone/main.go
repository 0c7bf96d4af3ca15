// Formatalone imports the formats of objects and nothing else of Penstock.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/penstock-go/penstock/ship/format"
)

// main counts the records of an object, which it reads from standard input. Its argument is the object's key.
func main() {
	n, err := count(os.Args[1], os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(n)
}

func count(key string, stored io.Reader) (n int, err error) {
	f, codec, err := format.ByKey(key)
	if err != nil {
		return 0, err
	}
	content, err := codec.NewReader(stored)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	r, err := f.NewReader(content)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		if _, _, err := r.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}
