package spool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A second consumer in the same process, such as an alerting rule, sees every record that is kept.
func ExampleSpool_Tail() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	go func() {
		for i := range 3 {
			if _, err := s.Append(ctx, []segment.Record{{Data: fmt.Appendf(nil, "event %d", i)}}); err != nil {
				log.Fatal(err)
			}
		}
	}()

	for r, err := range s.Tail(ctx, 0, nil) {
		if gap, ok := errors.AsType[*spool.GapError](err); ok {
			fmt.Println("missed", gap.First, "to", gap.Last)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Seq, string(r.Data))
		if r.Seq == 3 {
			break
		}
	}
	// Output:
	// 1 event 0
	// 2 event 1
	// 3 event 2
}

// A separate program reads the spool of a running service, and stops at the last record that is there now.
func ExampleTailDir() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, nil) // the service
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Append(context.Background(), []segment.Record{{Data: []byte("one")}, {Data: []byte("two")}}); err != nil {
		log.Fatal(err)
	}

	for r, err := range spool.TailDir(context.Background(), dir, 1, &spool.TailOptions{Stop: true}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Seq, string(r.Data))
	}
	// Output: 2 two
}
