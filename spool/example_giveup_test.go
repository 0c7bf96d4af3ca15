package spool_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// An operator lists the kept records that the disk has damaged, and gives up those that no other disk has.
func ExampleGiveUp() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := sp.Append(context.Background(), []segment.Record{{Data: []byte("sound")}}); err != nil {
		log.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		log.Fatal(err)
	}

	damages, err := spool.ReadDamages(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range damages {
		if err := spool.GiveUp(dir, d.Segment, d.Ranges); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(len(damages), "damaged")
	// Output: 0 damaged
}
