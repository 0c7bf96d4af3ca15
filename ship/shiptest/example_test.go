package shiptest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// table is a destination of the program's own, here a map in place of a database with one row for each object.
type table struct {
	mu   sync.Mutex
	rows map[string][]byte
}

var (
	_ ship.Destination = (*table)(nil)
	_ ship.Lister      = (*table)(nil)
)

// Put reads and checks the bytes first, and then inserts the row if its key is free: readers never see part of it.
func (d *table) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if err := ship.CheckKey(o.Key); err != nil {
		return ship.Receipt{}, err
	}
	b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return ship.Receipt{}, err
	}
	if int64(len(b)) != o.Size || sha256.Sum256(b) != o.SHA256 {
		return ship.Receipt{}, fmt.Errorf("%w: %s: the body is not the object", ship.ErrVerify, o.Key)
	}
	if err := ctx.Err(); err != nil {
		return ship.Receipt{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, taken := d.rows[o.Key]; taken && !bytes.Equal(have, b) {
		return ship.Receipt{}, fmt.Errorf("%w: %s", ship.ErrConflict, o.Key)
	}
	d.rows[o.Key] = b
	return receipt(b), nil
}

// receipt returns the table's own confirmation of a row, computed from the bytes that it holds, not from those that were
// sent.
func receipt(b []byte) ship.Receipt {
	return ship.Receipt{Size: int64(len(b)), Checksum: ship.SHA256Checksum(sha256.Sum256(b)), Method: "read-back", Time: time.Now()}
}

func (d *table) row(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.rows[key]
	if !ok {
		return nil, fmt.Errorf("table: %s: %w", key, fs.ErrNotExist)
	}
	return b, nil
}

func (d *table) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	b, err := d.row(ctx, key)
	if err != nil {
		return ship.Receipt{}, err
	}
	return receipt(b), nil
}

func (d *table) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	b, err := d.row(ctx, key)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (d *table) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		d.mu.Lock()
		keys := slices.Sorted(maps.Keys(d.rows))
		d.mu.Unlock()
		for _, key := range keys {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			b, err := d.row(ctx, key)
			if !yield(ship.Entry{Key: key, Size: int64(len(b))}, err) || err != nil {
				return
			}
		}
	}
}

// TestTable is the whole test of a destination: the suite checks that it keeps the contract.
func TestTable(t *testing.T) {
	d := &table{rows: map[string][]byte{}}
	shiptest.Run(t, func(*testing.T) ship.Destination { return d })
}

// A destination of the program's own implements three methods, here in the type table (see the source). Its test is one call of
// Run. The shipper guards against a destination that misbehaves; Guard does the same for other callers.
func ExampleRun() {
	d := ship.Guard(&table{}, func(err error, _ []byte) { fmt.Println("counted:", err) }) // its map was never made
	o := ship.BytesObject("class=x/object", "spool", []byte("content"))
	_, err := d.Put(context.Background(), o, io.NewSectionReader(strings.NewReader("content"), 0, o.Size))
	fmt.Println("failed:", err)
	// Output:
	// counted: Destination.Put panicked: assignment to entry in nil map
	// failed: Destination.Put panicked: assignment to entry in nil map
}
