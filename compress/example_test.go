package compress_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/penstock-go/penstock/compress"
)

func Example() {
	codec, level, err := compress.Parse("zstd:3") // a flag's value
	if err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	w, err := codec.NewWriter(&file, level)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Repeat("accept accept deny\n", 1000)); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	r, err := codec.NewReader(&file)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r) // no error: this is all of it, and nothing follows
	fmt.Println(len(content), err, codec.Info().Ext)
	// Output: 19000 <nil> .zst
}

func ExampleParse() {
	_, _, err := compress.Parse("brotli")
	fmt.Println(err)
	_, _, err = compress.Parse("gzip:11")
	fmt.Println(err)
	// Output:
	// compress: unknown codec "brotli": use one of zstd, gzip, lz4, s2, none
	// compress: level 11 of codec gzip does not exist: use 1 to 9
}
