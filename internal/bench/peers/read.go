package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// readBack returns the bytes per second at which a sealed segment is read from the page cache, with every block and record
// checked.
func (r *race) readBack(size int) (rate float64, err error) {
	dir, err := os.MkdirTemp(r.dir, "peers-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := writeSegment(dir, size); err != nil {
		return 0, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no segment in %s: %w", dir, err)
	}
	f, err := os.Open(names[0])
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var rates []float64
	for range r.rounds {
		begin := time.Now()
		if err := readAll(f, info.Size()); err != nil {
			return 0, err
		}
		rates = append(rates, float64(info.Size())/time.Since(begin).Seconds())
	}
	slices.Sort(rates)
	return quantile(rates, 0.5), nil
}

func writeSegment(dir string, size int) error {
	s, err := spool.Open(dir, &spool.Options{SegmentBytes: segmentBytes})
	if err != nil {
		return err
	}
	batch := makeBatch(warmBatch, size)
	records := make([]segment.Record, len(batch))
	for i := range records {
		records[i] = segment.Record{Time: time.Now().UnixNano(), Src: netip.MustParseAddrPort("192.0.2.1:514"), Data: batch[i]}
	}
	for n := 0; n < segmentBytes-4<<20 && err == nil; n += warmBatch * size {
		_, err = s.Append(context.Background(), records)
	}
	if err == nil {
		err = s.Seal(context.Background())
	}
	return errors.Join(err, s.Close())
}

func readAll(f io.ReaderAt, size int64) error {
	r, err := segment.NewReader(f, size, nil)
	if err != nil {
		return err
	}
	for err == nil {
		_, _, err = r.Next()
	}
	if err == io.EOF {
		err = nil
	}
	return err
}
