package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

var discard = slog.New(slog.DiscardHandler)

// opener opens one and the same index again and again.
type opener func() (ix index, rebuild bool, err error)

func realIndex(t testing.TB) (opener, string) {
	dir := t.TempDir()
	return func() (index, bool, error) { return openBolt(vfs.OS(), dir, discard) }, dir
}

func mustOpen(t testing.TB, open opener) (index, bool) {
	t.Helper()
	ix, rebuild, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ix.Close() })
	return ix, rebuild
}

func mustApply(t testing.TB, ix index, puts []kv, deletes ...string) {
	t.Helper()
	if err := ix.Apply(puts, deletes); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, ix index) {
	t.Helper()
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
}

func entries(t testing.TB, ix index) map[string]string {
	t.Helper()
	got, last := map[string]string{}, ""
	err := ix.Load(func(k string, v []byte) error {
		if k <= last {
			t.Errorf("%q after %q", k, last)
		}
		got[k], last = string(v), k
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantEntries(t testing.TB, ix index, want map[string]string) {
	t.Helper()
	if got := entries(t, ix); !maps.Equal(got, want) {
		t.Errorf("got %d entries %.300q, want %d %.300q", len(got), fmt.Sprint(got), len(want), fmt.Sprint(want))
	}
}

// TestIndex holds both indexes to the same contract, against a map that gets the same random transactions.
func TestIndex(t *testing.T) {
	bolt, _ := realIndex(t)
	disk := &memDisk{}
	for name, open := range map[string]opener{
		"bolt": bolt,
		"mem":  func() (index, bool, error) { return disk.open(nil, "", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			ix, rebuild := mustOpen(t, open)
			if !rebuild {
				t.Error("a new index does not ask to be rebuilt")
			}
			rng := rand.New(rand.NewPCG(1, 2))
			want := map[string]string{}
			for tx := range 40 {
				var puts []kv
				var deletes []string
				for range rng.IntN(100) {
					k := fmt.Sprintf("segment/%03d", rng.IntN(500))
					if rng.IntN(3) == 0 {
						deletes = append(deletes, k)
					} else {
						puts = append(puts, kv{k, []byte(strings.Repeat("v", rng.IntN(400)))})
					}
				}
				mustApply(t, ix, puts, deletes...)
				for _, k := range deletes {
					delete(want, k)
				}
				for _, p := range puts {
					want[p.key] = string(p.value)
				}
				if tx%10 == 9 {
					wantEntries(t, ix, want)
					mustClose(t, ix)
					if ix, rebuild = mustOpen(t, open); rebuild {
						t.Fatal("a whole index asks to be rebuilt")
					}
				}
			}
			wantEntries(t, ix, want)
			testIndexErrors(t, ix)
			wantEntries(t, ix, want)
			mustClose(t, ix)
			mustClose(t, ix)
			if err := ix.Apply([]kv{{"k", nil}}, nil); !errors.Is(err, ErrClosed) {
				t.Errorf("Apply after Close: %v", err)
			}
			if err := ix.Load(func(string, []byte) error { return nil }); !errors.Is(err, ErrClosed) {
				t.Errorf("Load after Close: %v", err)
			}
		})
	}
}

// A caller's mistake is refused as a whole and costs nothing.
func testIndexErrors(t *testing.T, ix index) {
	good := kv{"good", []byte("x")}
	for name, bad := range map[string]kv{
		"empty key": {"", nil}, "zero key": {"\x00", nil}, "long key": {strings.Repeat("k", maxIndexKey+1), nil},
		"long value": {"k", make([]byte, maxIndexValue+1)},
	} {
		if err := ix.Apply([]kv{good, bad}, nil); err == nil || errors.Is(err, errIndexLost) {
			t.Errorf("%s: %v", name, err)
		}
		if len(bad.value) == 0 && ix.Apply([]kv{good}, []string{bad.key}) == nil {
			t.Errorf("%s deleted", name)
		}
	}
	stop := errors.New("stop")
	if err := ix.Load(func(string, []byte) error { return stop }); !errors.Is(err, stop) || errors.Is(err, errIndexLost) {
		t.Errorf("Load: %v", err)
	}
	mustApply(t, ix, nil)
}

func TestIndexLoadsInChunks(t *testing.T) {
	for _, n := range []int{loadChunk - 1, loadChunk, loadChunk + 1, 2 * loadChunk} {
		open, _ := realIndex(t)
		ix, _ := mustOpen(t, open)
		want, puts := map[string]string{}, []kv(nil)
		for i := range n {
			k := fmt.Sprintf("%05d", i)
			puts = append(puts, kv{k, []byte(k)})
			want[k] = k
		}
		mustApply(t, ix, puts)
		wantEntries(t, ix, want)
		mustClose(t, ix)
	}
}

// The double forgets what a power cut is told to take, and nothing else.
func TestMemDiskCrash(t *testing.T) {
	disk := &memDisk{}
	ix, _ := mustOpen(t, func() (index, bool, error) { return disk.open(nil, "", nil) })
	mustApply(t, ix, []kv{{"a", []byte("1")}, {"b", []byte("1")}})
	mustApply(t, ix, []kv{{"a", []byte("2")}}, "b")
	for _, c := range []struct {
		fate    indexFate
		rebuild bool
		want    map[string]string
	}{
		{indexFate{}, false, map[string]string{"a": "2"}},
		{indexFate{Aged: 1}, false, map[string]string{"a": "1", "b": "1"}},
		{indexFate{Aged: 9}, false, map[string]string{}},
		{indexFate{Lost: true}, true, map[string]string{}},
		{indexFate{Damaged: true}, true, map[string]string{}},
	} {
		got, rebuild := mustOpen(t, func() (index, bool, error) { return disk.crash(c.fate).open(nil, "", nil) })
		if rebuild != c.rebuild {
			t.Errorf("%v: rebuild %v", c.fate, rebuild)
		}
		wantEntries(t, got, c.want)
	}
	disk.before = func() error { return errors.New("the disk is gone") }
	if err := ix.Apply([]kv{{"a", nil}}, nil); !errors.Is(err, errIndexLost) {
		t.Errorf("Apply: %v", err)
	}
	disk.before = nil
	if err := ix.Apply([]kv{{"a", nil}}, nil); !errors.Is(err, errIndexLost) {
		t.Errorf("Apply to a lost index: %v", err)
	}
	if _, rebuild := mustOpen(t, func() (index, bool, error) { return disk.open(nil, "", nil) }); !rebuild {
		t.Error("a lost index is believed")
	}
}
