package shiptest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// MemoryDestination keeps objects in memory. It passes the suite, and lets a test damage what it holds.
type MemoryDestination struct {
	id int64

	mu      sync.Mutex
	objects map[string]object
}

type object struct {
	body    []byte
	receipt ship.Receipt
}

var (
	_ ship.Destination = (*MemoryDestination)(nil)
	_ ship.Lister      = (*MemoryDestination)(nil)
	_ ship.ListerAfter = (*MemoryDestination)(nil)
	_ ship.Checker     = (*MemoryDestination)(nil)
	_ ship.Locator     = (*MemoryDestination)(nil)
)

var memories atomic.Int64

// Memory returns an empty MemoryDestination, a place of its own.
func Memory() *MemoryDestination {
	return &MemoryDestination{id: memories.Add(1), objects: map[string]object{}}
}

// Put implements ship.Destination.
func (m *MemoryDestination) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if err := ship.CheckKey(o.Key); err != nil {
		return ship.Receipt{}, err
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, reader{ctx, io.NewSectionReader(body, 0, body.Size())}); err != nil {
		return ship.Receipt{}, fmt.Errorf("shiptest: put %s: %w", o.Key, err)
	}
	got := ship.BytesObject(o.Key, o.Spool, b.Bytes())
	r := ship.Receipt{Size: got.Size, Checksum: ship.CRC64Checksum(got.CRC64NVME), Method: "head", Time: time.Now().UTC()}
	// Check both checksums, as a strict store would: a test must not pass because one was not checked.
	if got.SHA256 != o.SHA256 {
		return ship.Receipt{}, fmt.Errorf("shiptest: put %s: body is not what its SHA-256 says: %w", o.Key, ship.ErrVerify)
	}
	if err := o.Check(r); err != nil {
		return ship.Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return ship.Receipt{}, err
	}
	// Look and store under one lock, so that one of two Puts comes first.
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.objects[o.Key]; ok {
		if !bytes.Equal(old.body, b.Bytes()) {
			return ship.Receipt{}, fmt.Errorf("shiptest: put %s: %w", o.Key, ship.ErrConflict)
		}
		return old.receipt, nil
	}
	m.objects[o.Key] = object{b.Bytes(), r}
	return r, nil
}

// Stat implements ship.Destination.
func (m *MemoryDestination) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	o, err := m.get(ctx, "stat", key)
	return o.receipt, err
}

// Open implements ship.Destination.
func (m *MemoryDestination) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	o, err := m.get(ctx, "open", key)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(reader{ctx, bytes.NewReader(o.body)}), nil
}

func (m *MemoryDestination) get(ctx context.Context, op, key string) (object, error) {
	if err := ctx.Err(); err != nil {
		return object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return object{}, fmt.Errorf("shiptest: %s %s: %w", op, key, fs.ErrNotExist)
	}
	return o, nil
}

// List implements ship.Lister.
func (m *MemoryDestination) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return m.ListAfter(ctx, prefix, "")
}

// ListAfter implements ship.ListerAfter.
func (m *MemoryDestination) ListAfter(ctx context.Context, prefix, after string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		for _, key := range m.Keys() {
			if err := ctx.Err(); err != nil {
				yield(ship.Entry{}, err)
				return
			}
			o, err := m.get(ctx, "list", key)
			if err != nil || key <= after || !strings.HasPrefix(key, prefix) {
				continue
			}
			if !yield(ship.Entry{Key: key, Size: o.receipt.Size}, nil) {
				return
			}
		}
	}
}

// Check implements ship.Checker.
func (m *MemoryDestination) Check(ctx context.Context) error { return ctx.Err() }

// Location implements ship.Locator.
func (m *MemoryDestination) Location() string { return fmt.Sprintf("memory://%d", m.id) }

// Keys lists what is stored, in byte order.
func (m *MemoryDestination) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

// Bytes returns a copy of an object's bytes, nil if it is not there.
func (m *MemoryDestination) Bytes(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.objects[key].body)
}

// Set stores or replaces an object as another writer could, with a checksum that fits its bytes.
func (m *MemoryDestination) Set(key string, body []byte) {
	o := ship.BytesObject(key, "", body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = object{
		bytes.Clone(body),
		ship.Receipt{Size: o.Size, Checksum: ship.CRC64Checksum(o.CRC64NVME), Method: "head", Time: time.Now().UTC()},
	}
}

// Remove deletes an object, if it is there.
func (m *MemoryDestination) Remove(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
}

// reader ends with ctx.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
