package spool

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/penstock-go/penstock/internal/vfs"
)

// memDisk is what bbolt's file would be on a real disk, for spools that run in memory: it keeps bbolt's promise
// (transactions are atomic, and durable once Apply has returned) and can be brought to break it. It outlives the indexes
// that its open returns.
type memDisk struct {
	// before, if set, is called before each transaction, with nothing locked; its error loses the index.
	before func() error

	mu      sync.Mutex
	exists  bool
	damaged bool
	txs     []memTx // committed, oldest first
}

type memTx struct {
	puts    []kv
	deletes []string
}

// indexFate is what a power cut does to an index.
type indexFate struct {
	Aged    int  // so many of the last transactions are undone, although they had been acknowledged
	Lost    bool // the file is gone
	Damaged bool // the file is there, and not to be believed
}

func (f indexFate) String() string {
	switch {
	case f.Lost:
		return "index lost"
	case f.Damaged:
		return "index damaged"
	}
	return fmt.Sprintf("index aged by %d", f.Aged)
}

// crash returns the disk as a power cut at this moment leaves it. The original goes on undisturbed.
func (d *memDisk) crash(f indexFate) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Lost || !d.exists {
		return &memDisk{}
	}
	return &memDisk{exists: true, damaged: f.Damaged, txs: slices.Clone(d.txs[:max(0, len(d.txs)-f.Aged)])}
}

var _ openIndexFunc = (*memDisk)(nil).open

func (d *memDisk) open(vfs.FS, string, *slog.Logger) (index, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rebuild := !d.exists || d.damaged
	if rebuild {
		d.exists, d.damaged, d.txs = true, false, nil
	}
	return &memIndex{disk: d}, rebuild, nil
}

type memIndex struct {
	disk *memDisk
	mu   sync.Mutex
	err  error
}

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
			all[p.key] = p.value
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

func (x *memIndex) Apply(puts []kv, deletes []string) error {
	if err := checkKeys(puts, deletes); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil || len(puts)+len(deletes) == 0 {
		return x.err
	}
	if x.disk.before != nil {
		if err := x.disk.before(); err != nil {
			x.err = fmt.Errorf("%w: %w", errIndexLost, err)
			x.disk.mu.Lock()
			x.disk.damaged = true // as the mark does
			x.disk.mu.Unlock()
			return x.err
		}
	}
	tx := memTx{deletes: slices.Clone(deletes)}
	for _, p := range puts {
		tx.puts = append(tx.puts, kv{p.key, bytes.Clone(p.value)})
	}
	x.disk.mu.Lock()
	defer x.disk.mu.Unlock()
	x.disk.txs = append(x.disk.txs, tx)
	return nil
}

func (x *memIndex) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = ErrClosed
	}
	return nil
}
