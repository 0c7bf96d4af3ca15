package open

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// readers is how many objects are read at once: enough to hide the round trips to a distant store, and few enough for
// its request limits.
const readers = 4

// RecordsOptions say what Records reads. The zero value of every field means its documented default.
type RecordsOptions struct {
	// Class limits it to one class; default all.
	Class string
	// Extra has formats and codecs of the program's own: objects in them can be read, too.
	Extra format.Extra
}

// Records reads the records at a destination. It calls f with the sequence number of each record and the record, one at a
// time and in no particular order, and stops at the first error.
//
// A failure that may pass, such as a connection that breaks in the middle of an object, is retried for up to 25
// seconds, and reading continues after the last byte that arrived: records that cannot be read at the first attempt must
// not be counted as missing. The destination must be a ship.Lister.
func Records(ctx context.Context, d ship.Destination, o *RecordsOptions, f func(seq uint64, r segment.Record) error) error {
	if o == nil {
		o = new(RecordsOptions)
	}
	class, extra := o.Class, o.Extra
	if err := errors.Join(wait.CheckContext(ctx), extra.Check()); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	prefix := object.DataPrefix
	if class != "" {
		prefix = object.ClassPrefix(class)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	retry := retrying{d}
	keys := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex // f is called by one reader at a time
	for range readers {
		wg.Go(func() {
			for key := range keys {
				fail := func(err error) { cancel(fmt.Errorf("open: %s: %w", key, err)) }
				if err := readObject(ctx, retry, extra, key, &mu, f, fail); err != nil {
					fail(err)
				}
			}
		})
	}
	for e, err := range retry.List(ctx, prefix) {
		if err != nil {
			cancel(fmt.Errorf("open: %w", err))
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

// readObject reads the records of one object. An error of f ends ctx, by fail, before another reader can call f.
func readObject(ctx context.Context, d retrying, extra format.Extra, key string, mu *sync.Mutex, f func(uint64, segment.Record) error, fail func(error)) (err error) {
	body, err := d.Open(ctx, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	form, codec, err := extra.ByKey(key)
	if err != nil {
		return err
	}
	raw, err := codec.NewReader(body)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	r, err := form.NewReader(raw)
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
		if err = ctx.Err(); err == nil {
			if err = f(seq, rec); err != nil {
				fail(err)
			}
		}
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
