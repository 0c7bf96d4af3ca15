package fileship_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	d, err := fileship.Open(ctx, "file://"+filepath.ToSlash(dir), nil)
	if err != nil {
		log.Fatal(err)
	}
	b := []byte("hello\n")
	o := ship.BytesObject("greetings/1.txt", "0123456789abcdefghijklmnop", b)
	r, err := d.Put(ctx, o, io.NewSectionReader(bytes.NewReader(b), 0, o.Size))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Size, r.Method, r.Checksum)
	// Output: 6 read-back sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
}
