package index

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/penstock-go/penstock/internal/vfs"
)

// Mem replaces bbolt's file for spools that run in memory. It keeps bbolt's promise
// (transactions are atomic, and durable once Apply has returned), and tests can make it break the promise. It outlives the indexes
// that Open returns.
type Mem struct {
	// Before, if set, is called before each transaction, with nothing locked; its error loses the index.
	Before func() error

	mu      sync.Mutex
	exists  bool
	damaged bool
	txs     []memTx // committed, oldest first
}

type memTx struct {
	puts    []Entry
	deletes []string
}

// Fate is what a power cut does to an index.
type Fate struct {
	Aged    int  // how many of the last acknowledged transactions are undone
	Lost    bool // the file is gone
	Damaged bool // the file exists, but must not be trusted
}

// String describes the Fate in messages of tests.
func (f Fate) String() string {
	switch {
	case f.Lost:
		return "index lost"
	case f.Damaged:
		return "index damaged"
	}
	return fmt.Sprintf("index aged by %d", f.Aged)
}

// Crash returns the disk as a power cut at this moment leaves it. It does not change d.
func (d *Mem) Crash(f Fate) *Mem {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Lost || !d.exists {
		return &Mem{}
	}
	return &Mem{exists: true, damaged: f.Damaged, txs: slices.Clone(d.txs[:max(0, len(d.txs)-f.Aged)])}
}

var _ OpenFunc = (*Mem)(nil).Open

// Open is an OpenFunc.
func (d *Mem) Open(vfs.FS, string, *slog.Logger) (Index, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rebuild := !d.exists || d.damaged
	if rebuild {
		d.exists, d.damaged, d.txs = true, false, nil
	}
	return &memIndex{disk: d}, rebuild, nil
}

type memIndex struct {
	disk *Mem
	mu   sync.Mutex
	err  error
}

// Load implements Index.
func (x *memIndex) Load(fn func(key string, value []byte) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return x.err
	}
	x.disk.mu.Lock()
	all := map[string][]byte{}
	for _, tx := range x.disk.txs {
		for _, k := range tx.deletes {
			delete(all, k)
		}
		for _, p := range tx.puts {
			all[p.Key] = p.Value
		}
	}
	x.disk.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if err := fn(k, bytes.Clone(all[k])); err != nil {
			return err
		}
	}
	return nil
}

// Apply implements Index.
func (x *memIndex) Apply(puts []Entry, deletes []string) error {
	if err := checkKeys(puts, deletes); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil || len(puts)+len(deletes) == 0 {
		return x.err
	}
	if x.disk.Before != nil {
		if err := x.disk.Before(); err != nil {
			x.err = fmt.Errorf("%w: %w", ErrLost, err)
			x.disk.mu.Lock()
			x.disk.damaged = true // as the mark does on a real disk
			x.disk.mu.Unlock()
			return x.err
		}
	}
	tx := memTx{deletes: slices.Clone(deletes)}
	for _, p := range puts {
		tx.puts = append(tx.puts, Entry{p.Key, bytes.Clone(p.Value)})
	}
	x.disk.mu.Lock()
	defer x.disk.mu.Unlock()
	x.disk.txs = append(x.disk.txs, tx)
	return nil
}

// Close implements Index.
func (x *memIndex) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = ErrClosed
	}
	return nil
}
