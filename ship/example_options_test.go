package ship_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// Two classes share a line of 100 MB/s to one destination, and sign their manifests with one key. A program reads the key
// with ReadPrivateKey.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	line := ship.NewLimiter(100e6) // bytes per second, as stored
	idc := shiptest.Memory()
	for _, class := range []string{"vpn", "dns"} {
		sp, err := spool.Open(filepath.Join(dir, class), &spool.Options{Class: class, Destinations: []string{"idc"}})
		if err != nil {
			log.Fatal(err)
		}
		defer sp.Close()
		s, err := ship.New(sp, &ship.Options{
			Destinations: map[string]ship.Destination{"idc": idc},
			Limits:       map[string][]*ship.Limiter{"idc": {line}},
			Signer:       key,
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(class, s.Stats()["idc"].State) // Run delivers
	}
	// Output:
	// vpn ok
	// dns ok
}

// A destination that implements only ship.Destination gets an Object, and returns a Receipt.
func ExampleBytesObject() {
	ctx, d := context.Background(), shiptest.Memory()
	const text = "a small document"
	o := ship.BytesObject("_report/note.txt", "4k7q0z1m9x2c3v5b6n8a0s1d2f", []byte(text))
	r, err := d.Put(ctx, o, io.NewSectionReader(strings.NewReader(text), 0, o.Size))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Size, o.Check(r)) // nil: the receipt speaks of these bytes

	other := ship.BytesObject(o.Key, o.Spool, []byte("another"))
	_, err = d.Put(ctx, other, io.NewSectionReader(strings.NewReader("another"), 0, other.Size))
	fmt.Println(err != nil) // ship.ErrConflict: nothing is ever overwritten
	// Output:
	// 16 <nil>
	// true
}
