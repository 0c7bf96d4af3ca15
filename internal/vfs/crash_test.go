package vfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestCrashUnsyncedData(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f", fill('a', 10_000))
	must(t, m.SyncDir("/"))
	write(t, f, fill('b', 10_000), 5_000)
	mixed := fill('a', 5_000) + fill('b', 10_000)

	wantContents(t, m.CrashClone(Crash{Data: DataDropped}), "f", fill('a', 10_000))
	wantContents(t, m.CrashClone(Crash{Data: DataKept}), "f", mixed)
	wantContents(t, m, "f", mixed)
	must(t, f.Sync())
	for fate := DataDropped; fate <= DataMixed; fate++ {
		wantContents(t, m.CrashClone(Crash{Data: fate, Seed: 7}), "f", mixed)
	}
}

// Each sector of a torn file has one of its versions. Over all seeds every version occurs, alone and next to others; so does
// every size.
func TestCrashTornSectors(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f", fill('a', 8192))
	must(t, m.SyncDir("/"))
	write(t, f, fill('b', 8192), 0)
	write(t, f, fill('c', 6000), 4096)
	var shapes []string
	sizes := map[int]bool{}
	for seed := range uint64(300) {
		got := contents(t, m.CrashClone(Crash{Data: DataTorn, Seed: seed}), "f")
		sizes[len(got)] = true
		shape := ""
		for i := 0; i < len(got); i += sector {
			s := got[i:min(i+sector, len(got))]
			want := "abc\x00"
			switch {
			case i < 4096:
				want = "ab"
			case i < 8192:
				want = "abc"
			default:
				want = "c\x00"
			}
			// The write of c ends in the middle of its last sector.
			body := strings.TrimRight(s, "\x00")
			if i+sector <= 10_096 && body != "" && len(body) != len(s) || strings.Trim(body, body[:min(1, len(body))]) != "" {
				t.Fatalf("seed %d: a sector is torn in itself: %q", seed, s)
			}
			if !strings.Contains(want, s[:1]) {
				t.Fatalf("seed %d: sector at %d has %q, never written there", seed, i, s[:1])
			}
			shape += s[:1]
		}
		if !slices.Contains(shapes, shape) {
			shapes = append(shapes, shape)
		}
		again := contents(t, m.CrashClone(Crash{Data: DataTorn, Seed: seed}), "f")
		if again != got {
			t.Fatalf("seed %d: two clones differ", seed)
		}
	}
	all := strings.Join(shapes, " ")
	for _, want := range []string{"aaaaaaaa", "bbbbbbbb", "ab", "ba", "ca", "bc"} {
		if !strings.Contains(all, want) {
			t.Errorf("no seed left %s", want)
		}
	}
	if !sizes[8192] || !sizes[10_096] || len(sizes) < 4 {
		t.Errorf("sizes: %v", sizes)
	}
}

func TestCrashTruncate(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f", fill('a', 9000))
	must(t, m.SyncDir("/"))
	must(t, f.Truncate(100))
	wantContents(t, m.CrashClone(Crash{Data: DataDropped}), "f", fill('a', 9000))
	must(t, f.Truncate(9000))
	must(t, f.Sync())
	wantContents(t, m.CrashClone(Crash{Data: DataDropped}), "f", fill('a', 100)+fill(0, 8900))
}

// POSIX keeps a name only after the sync of its directory.
func TestCrashNamesStrict(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("d/e"))
	strict := func() *Mem { return m.CrashClone(Crash{Data: DataKept, Names: NamesStrict}) }
	create(t, m, "d/f", "1")
	wantContents(t, strict(), "d/f", "absent")
	must(t, m.SyncDir("d/e"))
	wantContents(t, strict(), "d/f", "absent")
	must(t, m.SyncDir("d"))
	wantContents(t, strict(), "d/f", "1")

	must(t, m.Rename("d/f", "d/g"))
	wantContents(t, strict(), "d/f", "1")
	wantContents(t, strict(), "d/g", "absent")
	must(t, m.Rename("d/g", "d/e/g"))
	must(t, m.SyncDir("d/e"))
	c := strict() // only its new directory was synced: two names of one file
	wantContents(t, c, "d/f", "1")
	wantContents(t, c, "d/e/g", "1")
	f, err := c.OpenRW("d/f")
	must(t, err)
	write(t, f, "2", 0)
	must(t, f.Close())
	wantContents(t, c, "d/e/g", "2")
	wantContents(t, m, "d/e/g", "1")

	must(t, m.Remove("d/e/g"))
	must(t, m.SyncDir("d"))
	wantContents(t, strict(), "d/f", "absent")
	wantContents(t, strict(), "d/e/g", "1")
}

// A journal keeps a prefix of all changes, at least up to the last SyncDir, and over the seeds every prefix.
func TestCrashNamesJournal(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("d"))
	must(t, m.MkdirAll("e"))
	step := func(i int) string { return fmt.Sprintf("%s/%d", []string{"d", "e"}[i%2], i) }
	for i := range 6 {
		create(t, m, step(i), "")
	}
	must(t, m.SyncDir("e")) // also keeps the 0, 2 and 4 of d: they are older than 5
	for i := 6; i < 10; i++ {
		create(t, m, step(i), "")
	}
	must(t, m.Rename(step(9), "d/10"))
	seen := map[int]bool{}
	for seed := range uint64(100) {
		c := m.CrashClone(Crash{Names: NamesJournal, Seed: seed})
		n := 0
		for n < 10 && contents(t, c, step(n)) != "absent" {
			n++
		}
		for i := n + 1; i < 10; i++ {
			if contents(t, c, step(i)) != "absent" {
				t.Fatalf("seed %d: %d survived %d", seed, i, n)
			}
		}
		if contents(t, c, "d/10") != "absent" {
			if n != 9 {
				t.Fatalf("seed %d: the rename survived what it renamed, or both names did: %d", seed, n)
			}
			n = 11
		}
		seen[n] = true
	}
	for _, n := range []int{6, 7, 8, 9, 10, 11} {
		if !seen[n] {
			t.Errorf("no seed kept %d steps", n)
		}
	}
	if len(seen) != 6 {
		t.Errorf("prefixes: %v", seen)
	}
	wantContents(t, m.CrashClone(Crash{Names: NamesKept}), "d/10", "")
}

func TestCrashCloneStandsAlone(t *testing.T) {
	m := NewMem()
	m.SetCapacity(16 * pageSize)
	f := create(t, m, "f", fill('a', 5000))
	must(t, m.SyncDir("/"))
	l, err := m.Lock("lock", "first")
	must(t, err)
	defer l.Close()
	must(t, m.SyncDir("/"))
	c := m.CrashClone(Crash{Data: DataKept})
	write(t, f, fill('b', 5000), 0)
	l2, err := c.Lock("lock", "second")
	must(t, err)
	must(t, l2.Close())
	wantContents(t, c, "f", fill('a', 5000))
	g, err := c.OpenRW("f")
	must(t, err)
	write(t, g, fill('c', 5000), 0)
	wantContents(t, m, "f", fill('b', 5000))
	wantContents(t, c.CrashClone(Crash{}), "f", fill('a', 5000))
	total, free, err := c.Space("/")
	if err != nil || total != 16*pageSize || free != 13*pageSize { // two pages of f, one of lock
		t.Errorf("Space: %d of %d, %v", free, total, err)
	}
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(3 * pageSize)
	f := create(t, m, "f", fill('a', 2*pageSize))
	n, err := f.WriteAt([]byte(fill('b', 3*pageSize)), pageSize)
	if n != 2*pageSize || !errors.Is(err, syscall.ENOSPC) || !IsNoSpace(err) {
		t.Fatalf("a write beyond the capacity: %d, %v", n, err)
	}
	if size, _ := f.Size(); size != 3*pageSize {
		t.Errorf("size %d", size)
	}
	write(t, f, fill('c', 3*pageSize), 0) // over itself: no more space needed
	if err := f.Allocate(4 * pageSize); !IsNoSpace(err) {
		t.Errorf("Allocate: %v", err)
	}
	g := create(t, m, "g", "")
	must(t, f.Truncate(pageSize))
	must(t, g.Allocate(2*pageSize))
	if _, err := f.WriteAt([]byte("x"), pageSize); !IsNoSpace(err) {
		t.Errorf("a write into space reserved by another: %v", err)
	}
	must(t, m.Remove("g"))
	if _, free, _ := m.Space("/"); free != 0 {
		t.Errorf("free while open: %d", free)
	}
	must(t, g.Close())
	if _, free, _ := m.Space("/"); free != 2*pageSize {
		t.Errorf("free after Close: %d", free)
	}
}
