package spool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A sampler must never wait: the program drops records for which there is no room, and counts them itself.
func ExampleSpool_TryOffer() {
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
	dropped := 0
	for range 3 {
		switch _, err := s.TryOffer([]segment.Record{{Time: time.Now().UnixNano(), Data: []byte("a sample")}}); {
		case errors.Is(err, spool.ErrFull):
			dropped++
		case err != nil:
			log.Fatal(err)
		}
	}
	fmt.Println("dropped", dropped)
	// Output: dropped 0
}

// A pipeline whose stages are connected by channels ends in a spool instead of in a slow sender. The last stage decides what
// to do with a batch if Append returns an error: there are three cases, and only in one of them it tries again.
func ExampleSpool_Append_pipeline() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}

	lines := make(chan string, 100)
	go func() { // the stage before
		defer close(lines)
		for i := range 1000 {
			lines <- fmt.Sprint("line ", i)
		}
	}()

	ctx := context.Background() // the service's: cancelling it ends a wait for room
	for batch := range batches(lines, 100) {
		if err := keep(ctx, s, batch); err != nil {
			// These records are only in memory. The program stops here without acknowledging them to the previous stage: a
			// source that can repeat them (a queue, a file with an offset) does so after the restart.
			log.Fatal(err)
		}
	}
	fmt.Println(s.Ledger().Kept.Records, "records are kept")
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: 1000 records are kept
}

// keep returns nil once a batch is kept.
func keep(ctx context.Context, s *spool.Spool, batch []segment.Record) error {
	for {
		last, err := s.Append(ctx, batch)
		switch {
		case err == nil:
			return nil
		case last > 0:
			// The batch was accepted, and is written as soon as the disk allows. Appending it again would duplicate it.
			return s.WaitDurable(ctx, last)
		case errors.Is(err, spool.ErrTooLong) && len(batch) > 1:
			half := len(batch) / 2
			if err := keep(ctx, s, batch[:half]); err != nil {
				return err
			}
			batch = batch[half:]
		case errors.Is(err, spool.ErrFailing) && ctx.Err() == nil:
			select { // nothing was accepted; the disk may recover
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		default: // ErrClosed, the end of ctx, or a record that no spool with these options can accept
			return err
		}
	}
}

// batches collects lines: an Append is one write to the disk, whatever the number of its records.
func batches(lines <-chan string, most int) func(yield func([]segment.Record) bool) {
	return func(yield func([]segment.Record) bool) {
		var batch []segment.Record
		for line := range lines {
			batch = append(batch, segment.Record{Time: time.Now().UnixNano(), Data: []byte(line)})
			if len(batch) < most && len(lines) > 0 {
				continue
			}
			if !yield(batch) {
				return
			}
			batch = batch[:0]
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}
