package paged

import (
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
)

// gaps lists the ranges that a set lacks.
func gaps(t *testing.T, s *Set) (all [][2]uint64) {
	t.Helper()
	if err := s.Gaps(func(from, to uint64) bool { all = append(all, [2]uint64{from, to}); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

// want lists the same ranges of a plain slice.
func want(has []bool) (all [][2]uint64) {
	for i := 0; i < len(has); i++ {
		from := i
		for i < len(has) && !has[i] {
			i++
		}
		if i > from {
			all = append(all, [2]uint64{uint64(from), uint64(i)})
		}
	}
	return all
}

// TestSet compares sets that have too little memory with plain slices: numbers in order and in random order, at the edges of
// pages, more than once, in two sets that share a store.
func TestSet(t *testing.T) {
	for _, memory := range []int64{0, MinMemory} {
		store, err := NewStore(memory, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		sizes := []uint64{4*pageBits + 77, 3 * pageBits}
		var sets []*Set
		var has [][]bool
		for _, n := range sizes {
			s, err := store.Set(n)
			if err != nil {
				t.Fatal(err)
			}
			sets, has = append(sets, s), append(has, make([]bool, n))
		}
		add := func(which int, number uint64) {
			had, err := sets[which].Add(number)
			if err != nil || had != has[which][number] {
				t.Fatalf("set %d: %d was there: %t, %v", which, number, had, err)
			}
			has[which][number] = true
		}
		for range 30_000 {
			which := rnd.IntN(2)
			add(which, rnd.Uint64N(sizes[which]))
		}
		for number := range uint64(pageBits + pageBits/2) {
			add(0, number)
		}
		for which := range sets {
			for _, at := range []uint64{pageBits - 1, pageBits, pageBits + 63, pageBits + 64, sizes[which] - 1} {
				add(which, at)
				add(which, at)
			}
		}
		for which, s := range sets {
			count := uint64(0)
			for number, h := range has[which] {
				if h {
					count++
				}
				if number%997 == 0 {
					if got, err := s.Has(uint64(number)); err != nil || got != h {
						t.Fatalf("set %d has %d: %t, %v", which, number, got, err)
					}
				}
			}
			got, expected := gaps(t, s), want(has[which])
			if s.Len() != count || len(got) != len(expected) {
				t.Fatalf("%d numbers and %d gaps, want %d and %d", s.Len(), len(got), count, len(expected))
			}
			for i := range got {
				if got[i] != expected[i] {
					t.Fatalf("gap %d is %d, want %d", i, got[i], expected[i])
				}
			}
		}
		if spilled := store.Spilled(); spilled > 0 != (memory > 0) {
			t.Errorf("memory %d: %d bytes are in the file", memory, spilled)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestGapsStop: the caller stops after one gap.
func TestGapsStop(t *testing.T) {
	store, _ := NewStore(0, "")
	s, err := store.Set(pageBits * 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{3, 900, pageBits + 7} {
		if _, err := s.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	calls := 0
	if err := s.Gaps(func(from, to uint64) bool { calls++; return false }); err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// TestMemory: numbers in the worst order, each in a different page than the one before, use no more memory than allowed.
func TestMemory(t *testing.T) {
	const memory, pages = 1 << 20, 2000 // 31 MiB of pages
	dir := t.TempDir()
	store, err := NewStore(memory, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s, err := store.Set(pages * pageBits)
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for round := range uint64(3) {
		for page := range uint64(pages) {
			if had, err := s.Add(page*pageBits + round*7919); err != nil || had {
				t.Fatalf("round %d, page %d: %t, %v", round, page, had, err)
			}
		}
	}
	used := int64(heap()) - int64(before)
	t.Logf("%d bytes of memory, %d bytes of file", used, store.Spilled())
	if used > memory+memory/4 {
		t.Errorf("%d bytes are in use, %d were given", used, memory)
	}
	if store.Spilled() < pages*pageBytes*9/10 {
		t.Errorf("only %d bytes are in the file", store.Spilled())
	}
	if s.Len() != 3*pages {
		t.Errorf("%d numbers", s.Len())
	}
	// Full pages release their space.
	for number := range uint64(pageBits) * 3 {
		if _, err := s.Add(number); err != nil {
			t.Fatal(err)
		}
	}
	if len(store.holes) < 2 {
		t.Errorf("%d pages became free", len(store.holes))
	}
	if left, err := os.ReadDir(dir); err != nil || (runtime.GOOS == "linux" && len(left) > 0) {
		t.Errorf("%v, %v", left, err)
	}
}

// TestNoDisk: if the file cannot be created, Add returns an error that says so.
func TestNoDisk(t *testing.T) {
	store, err := NewStore(MinMemory, t.TempDir()+"/missing")
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Set(100 * pageBits)
	if err != nil {
		t.Fatal(err)
	}
	for page := range uint64(5) {
		if _, err = s.Add(page * pageBits); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("five pages fit in the memory of four")
	}
	if _, err := NewStore(1, ""); err == nil {
		t.Error("one byte of memory is accepted")
	}
	if _, err := store.Set(MaxNumbers + 1); err == nil {
		t.Error("too large a set is accepted")
	}
}

func BenchmarkAdd(b *testing.B) {
	store, _ := NewStore(0, "")
	const n = 100 * pageBits
	s, _ := store.Set(n)
	number := uint64(0)
	for b.Loop() {
		_, _ = s.Add(number % n)
		number++
	}
}
