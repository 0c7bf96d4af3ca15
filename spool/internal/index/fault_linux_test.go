package index

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
func faulty(t *testing.T) (open opener, ix Index) {
	t.Helper()
	open, dir := realIndex(t)
	ix, _ = mustOpen(t, open)
	var puts []Entry
	for i := range 200 {
		puts = append(puts, Entry{fmt.Sprintf("%03d", i), []byte(strings.Repeat("v", 200))})
	}
	mustApply(t, ix, puts)
	if err := os.Truncate(filepath.Join(dir, FileName), 0); err != nil {
		t.Fatal(err)
	}
	return open, ix
}

// The process outlives a fault under the mapping, the index does not; the next one is new.
func TestIndexFault(t *testing.T) {
	for name, touch := range map[string]func(ix Index) error{
		"load":  func(ix Index) error { return ix.Load(func(string, []byte) error { return nil }) },
		"apply": func(ix Index) error { return ix.Apply([]Entry{{"k", []byte("v")}}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			open, ix := faulty(t)
			err := touch(ix)
			f, ok := errors.AsType[*fault](err)
			if !ok || !errors.Is(err, ErrLost) {
				t.Fatalf("got %v", err)
			}
			if a, ok := f.reason.(interface{ Addr() uintptr }); !ok || a.Addr() == 0 {
				t.Errorf("not a fault of the memory: %v", f.reason)
			}
			for range 2 {
				if err := ix.Apply([]Entry{{"k", []byte("v")}}, nil); !errors.Is(err, ErrLost) {
					t.Errorf("Apply to a lost index: %v", err)
				}
				if err := ix.Load(func(string, []byte) error { return nil }); !errors.Is(err, ErrLost) {
					t.Errorf("Load of a lost index: %v", err)
				}
			}
			mustClose(t, ix)
			next, rebuild := mustOpen(t, open)
			if !rebuild {
				t.Error("a lost index is believed")
			}
			mustApply(t, next, []Entry{{"k", []byte("v")}})
			wantEntries(t, next, map[string]string{"k": "v"})
		})
	}
}

// A lost index may lack later changes: even an intact file is not used.
func TestIndexLostIsMarked(t *testing.T) {
	open, dir := realIndex(t)
	ix, _ := mustOpen(t, open)
	mustApply(t, ix, []Entry{{"k", []byte("v")}})
	b := ix.(*boltIndex)
	b.mu.Lock()
	err := b.call(func(db *bbolt.DB) error { return errors.New("the commit failed") })
	b.mu.Unlock()
	if !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, MarkName)); err != nil {
		t.Error(err)
	}
	if _, rebuild := mustOpen(t, open); !rebuild {
		t.Error("a lost index is believed")
	}
}
