package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// faulty returns an open index whose file was cut off under its mapping: reading it is a SIGBUS, as an I/O error of the
// disk would be.
func faulty(t *testing.T) (open opener, ix index) {
	t.Helper()
	open, dir := realIndex(t)
	ix, _ = mustOpen(t, open)
	var puts []kv
	for i := range 200 {
		puts = append(puts, kv{fmt.Sprintf("%03d", i), []byte(strings.Repeat("v", 200))})
	}
	mustApply(t, ix, puts)
	if err := os.Truncate(filepath.Join(dir, indexName), 0); err != nil {
		t.Fatal(err)
	}
	return open, ix
}

// The process outlives a fault under the mapping, the index does not; the next one is new.
func TestIndexFault(t *testing.T) {
	for name, touch := range map[string]func(ix index) error{
		"load":  func(ix index) error { return ix.Load(func(string, []byte) error { return nil }) },
		"apply": func(ix index) error { return ix.Apply([]kv{{"k", []byte("v")}}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			open, ix := faulty(t)
			err := touch(ix)
			f, ok := errors.AsType[*fault](err)
			if !ok || !errors.Is(err, errIndexLost) {
				t.Fatalf("got %v", err)
			}
			if a, ok := f.reason.(interface{ Addr() uintptr }); !ok || a.Addr() == 0 {
				t.Errorf("not a fault of the memory: %v", f.reason)
			}
			for range 2 {
				if err := ix.Apply([]kv{{"k", []byte("v")}}, nil); !errors.Is(err, errIndexLost) {
					t.Errorf("Apply to a lost index: %v", err)
				}
				if err := ix.Load(func(string, []byte) error { return nil }); !errors.Is(err, errIndexLost) {
					t.Errorf("Load of a lost index: %v", err)
				}
			}
			mustClose(t, ix)
			next, rebuild := mustOpen(t, open)
			if !rebuild {
				t.Error("a lost index is believed")
			}
			mustApply(t, next, []kv{{"k", []byte("v")}})
			wantEntries(t, next, map[string]string{"k": "v"})
		})
	}
}

// A lost index may miss what happened since: even a file that is whole is not believed.
func TestIndexLostIsMarked(t *testing.T) {
	open, dir := realIndex(t)
	ix, _ := mustOpen(t, open)
	mustApply(t, ix, []kv{{"k", []byte("v")}})
	b := ix.(*boltIndex)
	b.mu.Lock()
	err := b.call(func(db *bbolt.DB) error { return errors.New("the commit failed") })
	b.mu.Unlock()
	if !errors.Is(err, errIndexLost) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, indexMark)); err != nil {
		t.Error(err)
	}
	if _, rebuild := mustOpen(t, open); !rebuild {
		t.Error("a lost index is believed")
	}
}
