package spool_test

import (
	"errors"
	"math"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestRenameOnce: the chains of two destinations are left at the same moment, and both lanes give the spool its next
// identity. If both do, that identity follows itself: a chain that ends under it begins under it again, indefinitely.
func TestRenameOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "0000000000zzzzzzzzzzzzzzzz"
		disk := spool.NewMemHost()
		var (
			s   *spool.Spool
			err error
		)
		var second sync.Once
		var wg sync.WaitGroup
		armed := false
		gate := func(kind vfs.Kind, path string) error {
			if armed && kind == vfs.OpRename && filepath.Base(path) == "spool.json" {
				second.Do(func() {
					wg.Go(func() {
						if err := s.Rename("b", name); err != nil {
							t.Error(err)
						}
					})
					synctest.Wait()
				})
			}
			return nil
		}
		s, err = disk.OpenGated(gate, func(vfs.Op) error { return nil }, nil, &spool.Options{Class: "vpn", Destinations: []string{"a", "b"}, Sync: spool.SyncAlways})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		armed = true
		err = errors.Join(s.Leave("a", 0, 0), s.Leave("b", 0, 0), s.Rename("a", name))
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		for _, dest := range []string{"a", "b"} {
			c, err := s.Chain(dest)
			if err != nil || c.Spool != name {
				t.Fatalf("the chain of %s is %+v, %v", dest, c, err)
			}
			if n := s.Limit(c); n != math.MaxUint64 {
				t.Errorf("the chain of %s ends with segment %d: its identity is taken for a former one", dest, n)
			}
		}
	})
}
