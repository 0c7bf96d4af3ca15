package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/segment"
)

// readers is how many objects are read at once: enough to hide the way to a distant store, few enough for its limits.
const readers = 4

// Records reads every record of every object at a destination and hands it to f, one at a time, in no order. It ends at
// the first error.
func Records(ctx context.Context, d ship.Destination, f func(seq uint64, r segment.Record) error) error {
	return records(ctx, d, "class=", f)
}

// RecordsOf is Records for one class.
func RecordsOf(ctx context.Context, d ship.Destination, class string, f func(seq uint64, r segment.Record) error) error {
	return records(ctx, d, "class="+class+"/", f)
}

func records(ctx context.Context, d ship.Destination, prefix string, f func(seq uint64, r segment.Record) error) error {
	lister, ok := d.(ship.Lister)
	if !ok {
		return errors.New("this destination cannot be listed")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	keys := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex // f is called by one reader at a time
	for range readers {
		wg.Go(func() {
			for key := range keys {
				if err := object(ctx, d, key, &mu, f); err != nil {
					cancel(fmt.Errorf("%s: %w", key, err))
				}
			}
		})
	}
	for e, err := range lister.List(ctx, prefix) {
		if err != nil {
			cancel(err)
			break
		}
		if e.IsFolder() {
			continue
		}
		select {
		case keys <- e.Key:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(keys)
	wg.Wait()
	return context.Cause(ctx)
}

func object(ctx context.Context, d ship.Destination, key string, mu *sync.Mutex, f func(uint64, segment.Record) error) (err error) {
	body, err := d.Open(ctx, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	format, codec, err := encodingOf(key)
	if err != nil {
		return err
	}
	raw, err := codec.NewReader(body)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	r, err := ship.NewRecordReader(format, raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for ctx.Err() == nil {
		seq, rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		mu.Lock()
		err = f(seq, rec)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// encodingOf tells how an object is encoded by the ending of its key: ".ndjson.zst".
func encodingOf(key string) (format string, codec compress.Codec, err error) {
	plain := key
	for _, name := range compress.Names() {
		c, err := compress.ByName(name)
		if err != nil {
			return "", nil, err
		}
		ext := c.Info().Ext
		if ext == "" && plain == key || ext != "" && strings.HasSuffix(key, ext) {
			plain, codec = strings.TrimSuffix(key, ext), c
		}
	}
	for ext, format := range map[string]string{".ndjson": ship.NDJSON, ".log": ship.Lines, ".seg": ship.Native} {
		if strings.HasSuffix(plain, ext) {
			return format, codec, nil
		}
	}
	return "", nil, fmt.Errorf("unknown ending of %q", key)
}
