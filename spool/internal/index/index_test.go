package index

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
type opener func() (ix Index, rebuild bool, err error)

func realIndex(t testing.TB) (opener, string) {
	dir := t.TempDir()
	return func() (Index, bool, error) { return openBolt(vfs.OS(), dir, discard) }, dir
}

func mustOpen(t testing.TB, open opener) (Index, bool) {
	t.Helper()
	ix, rebuild, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ix.Close() })
	return ix, rebuild
}

func mustApply(t testing.TB, ix Index, puts []Entry, deletes ...string) {
	t.Helper()
	if err := ix.Apply(puts, deletes); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, ix Index) {
	t.Helper()
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
}

func entries(t testing.TB, ix Index) map[string]string {
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

func wantEntries(t testing.TB, ix Index, want map[string]string) {
	t.Helper()
	if got := entries(t, ix); !maps.Equal(got, want) {
		t.Errorf("got %d entries %.300q, want %d %.300q", len(got), fmt.Sprint(got), len(want), fmt.Sprint(want))
	}
}

// TestIndex holds both indexes to the same contract, against a map that gets the same random transactions.
func TestIndex(t *testing.T) {
	bolt, _ := realIndex(t)
	disk := &Mem{}
	for name, open := range map[string]opener{
		"bolt": bolt,
		"mem":  func() (Index, bool, error) { return disk.Open(nil, "", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			ix, rebuild := mustOpen(t, open)
			if !rebuild {
				t.Error("a new index does not ask to be rebuilt")
			}
			rng := rand.New(rand.NewPCG(1, 2))
			want := map[string]string{}
			for tx := range 40 {
				var puts []Entry
				var deletes []string
				for range rng.IntN(100) {
					k := fmt.Sprintf("segment/%03d", rng.IntN(500))
					if rng.IntN(3) == 0 {
						deletes = append(deletes, k)
					} else {
						puts = append(puts, Entry{k, []byte(strings.Repeat("v", rng.IntN(400)))})
					}
				}
				mustApply(t, ix, puts, deletes...)
				for _, k := range deletes {
					delete(want, k)
				}
				for _, p := range puts {
					want[p.Key] = string(p.Value)
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
			if err := ix.Apply([]Entry{{"k", nil}}, nil); !errors.Is(err, ErrClosed) {
				t.Errorf("Apply after Close: %v", err)
			}
			if err := ix.Load(func(string, []byte) error { return nil }); !errors.Is(err, ErrClosed) {
				t.Errorf("Load after Close: %v", err)
			}
		})
	}
}

// A caller's mistake is refused as a whole and costs nothing.
func testIndexErrors(t *testing.T, ix Index) {
	good := Entry{"good", []byte("x")}
	for name, bad := range map[string]Entry{
		"empty key": {"", nil}, "zero key": {"\x00", nil}, "long key": {strings.Repeat("k", maxKey+1), nil},
		"long value": {"k", make([]byte, maxValue+1)},
	} {
		if err := ix.Apply([]Entry{good, bad}, nil); err == nil || errors.Is(err, ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		if len(bad.Value) == 0 && ix.Apply([]Entry{good}, []string{bad.Key}) == nil {
			t.Errorf("%s deleted", name)
		}
	}
	stop := errors.New("stop")
	if err := ix.Load(func(string, []byte) error { return stop }); !errors.Is(err, stop) || errors.Is(err, ErrLost) {
		t.Errorf("Load: %v", err)
	}
	mustApply(t, ix, nil)
}

func TestIndexLoadsInChunks(t *testing.T) {
	for _, n := range []int{loadChunk - 1, loadChunk, loadChunk + 1, 2 * loadChunk} {
		open, _ := realIndex(t)
		ix, _ := mustOpen(t, open)
		want, puts := map[string]string{}, []Entry(nil)
		for i := range n {
			k := fmt.Sprintf("%05d", i)
			puts = append(puts, Entry{k, []byte(k)})
			want[k] = k
		}
		mustApply(t, ix, puts)
		wantEntries(t, ix, want)
		mustClose(t, ix)
	}
}

// Mem loses exactly the transactions that the Fate of a power cut says.
func TestMemDiskCrash(t *testing.T) {
	disk := &Mem{}
	ix, _ := mustOpen(t, func() (Index, bool, error) { return disk.Open(nil, "", nil) })
	mustApply(t, ix, []Entry{{"a", []byte("1")}, {"b", []byte("1")}})
	mustApply(t, ix, []Entry{{"a", []byte("2")}}, "b")
	for _, c := range []struct {
		fate    Fate
		rebuild bool
		want    map[string]string
	}{
		{Fate{}, false, map[string]string{"a": "2"}},
		{Fate{Aged: 1}, false, map[string]string{"a": "1", "b": "1"}},
		{Fate{Aged: 9}, false, map[string]string{}},
		{Fate{Lost: true}, true, map[string]string{}},
		{Fate{Damaged: true}, true, map[string]string{}},
	} {
		got, rebuild := mustOpen(t, func() (Index, bool, error) { return disk.Crash(c.fate).Open(nil, "", nil) })
		if rebuild != c.rebuild {
			t.Errorf("%v: rebuild %v", c.fate, rebuild)
		}
		wantEntries(t, got, c.want)
	}
	disk.Before = func() error { return errors.New("the disk is gone") }
	if err := ix.Apply([]Entry{{"a", nil}}, nil); !errors.Is(err, ErrLost) {
		t.Errorf("Apply: %v", err)
	}
	disk.Before = nil
	if err := ix.Apply([]Entry{{"a", nil}}, nil); !errors.Is(err, ErrLost) {
		t.Errorf("Apply to a lost index: %v", err)
	}
	if _, rebuild := mustOpen(t, func() (Index, bool, error) { return disk.Open(nil, "", nil) }); !rebuild {
		t.Error("a lost index is believed")
	}
}
