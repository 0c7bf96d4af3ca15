package vfs

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// A power cut before any operation of WriteFileAtomic leaves the old contents or the new ones; after it has returned, the new
// ones.
func TestWriteFileAtomicPowerCut(t *testing.T) {
	for names := NamesStrict; names <= NamesKept; names++ {
		for data := DataDropped; data <= DataMixed; data++ {
			for seed := range uint64(5) {
				crash := Crash{Data: data, Names: names, Seed: seed}
				m := NewMem()
				must(t, m.MkdirAll("d"))
				must(t, WriteFileAtomic(m, "d/f", []byte(fill('o', 3000))))
				var clones []*Mem
				fsys := Inject(m, func(op Op) error {
					if op.Kind.Mutates() {
						clones = append(clones, m.CrashClone(crash))
					}
					return nil
				})
				must(t, WriteFileAtomic(fsys, "d/f", []byte(fill('n', 5000))))
				if len(clones) != 5 { // create, write, sync, rename, syncdir
					t.Fatalf("%d operations", len(clones))
				}
				for i, c := range clones {
					got := contents(t, c, "d/f")
					if got != fill('o', 3000) && (got != fill('n', 5000) || i < 4) {
						t.Errorf("%v, before operation %d: %.20q (%d bytes)", crash, i+1, got, len(got))
					}
					must(t, RemoveTemp(c, "d"))
					if entries, _ := c.ReadDir("d"); len(entries) != 1 {
						t.Errorf("%v, before operation %d: left %v", crash, i+1, entries)
					}
				}
				wantContents(t, m.CrashClone(crash), "d/f", fill('n', 5000))
			}
		}
	}
}

func TestWriteFileAtomicErrors(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for _, fault := range []error{syscall.EIO, &Fault{Err: syscall.ENOSPC, Bytes: 100}, &Fault{Err: syscall.EIO, Done: true}} {
			m := NewMem()
			must(t, WriteFileAtomic(m, "f", []byte("old")))
			err := WriteFileAtomic(Inject(m, FailAt(n, fault)), "f", []byte(fill('n', 5000)))
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("operation %d: %v", n, err)
			}
			for _, fsys := range []FS{m, m.CrashClone(Crash{Data: DataTorn, Names: NamesJournal})} {
				if got := contents(t, fsys, "f"); got != "old" && got != fill('n', 5000) {
					t.Errorf("operation %d, %v: %.20q", n, fault, got)
				}
			}
			must(t, RemoveTemp(m, "/"))
			must(t, WriteFileAtomic(m, "f", []byte("again")))
			wantContents(t, m, "f", "again")
		}
	}
}

func TestFailFrom(t *testing.T) {
	m := NewMem()
	hook, mend := FailFrom(3, syscall.EIO)
	fsys := Inject(m, hook)
	f, err := fsys.Create("f")
	must(t, err)
	write(t, f, "a", 0)
	for range 2 {
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Sync: %v", err)
		}
	}
	if err := fsys.Rename("f", "g"); !errors.Is(err, syscall.EIO) {
		t.Errorf("Rename: %v", err)
	}
	wantContents(t, fsys, "f", "a") // reads still work
	mend()
	must(t, fsys.Rename("f", "g"))
}

// Data that a failed Sync dropped stays readable and counts as clean; only writing it again makes it durable.
func TestFailedSyncDropsPages(t *testing.T) {
	m := NewMem()
	base := create(t, m, "f", fill('a', 3*pageSize))
	must(t, m.SyncDir("/"))
	must(t, base.Close())
	fsys := Inject(Inject(m, func(Op) error { return nil }), FailAt(2, syscall.EIO))
	f, err := fsys.OpenRW("f")
	must(t, err)
	write(t, f, fill('b', 2*pageSize), 0)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync: %v", err)
	}
	must(t, f.Sync())
	wantContents(t, fsys, "f", fill('b', 2*pageSize)+fill('a', pageSize))
	for _, data := range []DataFate{DataDropped, DataKept} {
		wantContents(t, m.CrashClone(Crash{Data: data}), "f", fill('a', 3*pageSize))
	}
	write(t, f, "B", 5000)
	must(t, f.Sync())
	wantContents(t, m.CrashClone(Crash{}), "f", fill('a', pageSize)+fill('b', 904)+"B"+fill('b', pageSize-905)+fill('a', pageSize))
	must(t, f.Close())
}

func TestShortWrite(t *testing.T) {
	m := NewMem()
	fsys := Inject(m, FailAt(2, &Fault{Err: syscall.ENOSPC, Bytes: 3}))
	f, err := fsys.Create("f")
	must(t, err)
	if n, err := f.WriteAt([]byte("abcdef"), 0); n != 3 || !IsNoSpace(err) {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	wantContents(t, m, "f", "abc")
}

// Done: the operation reports a failure although it was performed, as if its answer were lost.
func TestFaultDone(t *testing.T) {
	m := NewMem()
	fsys := Inject(m, func(op Op) error {
		if op.Kind.Mutates() {
			return &Fault{Err: syscall.EIO, Done: true}
		}
		return nil
	})
	for name, err := range map[string]error{
		"create": func() error { _, err := fsys.Create("f"); return err }(),
		"mkdir":  fsys.MkdirAll("d"),
		"lock":   func() error { _, err := fsys.Lock("l", "me"); return err }(),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantContents(t, m, "f", "")
	l, err := m.Lock("l", "me")
	must(t, err)
	must(t, l.Close())
}

// Every kind of operation calls the hook, and those that change something are numbered without a gap.
func TestHookSeesEverything(t *testing.T) {
	var got []string
	fsys := Inject(NewMem(), func(op Op) error {
		got = append(got, fmt.Sprintf("%v %s %d", op.Kind, op.Path, op.N))
		return nil
	})
	must(t, fsys.MkdirAll("d"))
	f, err := fsys.Create("d/f")
	must(t, err)
	write(t, f, "x", 0)
	must(t, f.Sync())
	must(t, f.Truncate(0))
	must(t, f.Allocate(1))
	_, err = f.Size()
	must(t, err)
	_, _ = f.ReadAt(make([]byte, 1), 0)
	must(t, f.Close())
	_, err = fsys.Open("d/f")
	must(t, err)
	must(t, fsys.Rename("d/f", "d/g"))
	must(t, fsys.Remove("d/g"))
	must(t, fsys.SyncDir("d"))
	_, err = fsys.ReadDir("d")
	must(t, err)
	_, err = fsys.Stat("d")
	must(t, err)
	_, _, err = fsys.Space("d")
	must(t, err)
	_, err = fsys.Lock("l", "me")
	must(t, err)
	want := []string{
		"mkdir d 1", "create d/f 2", "write d/f 3", "sync d/f 4", "truncate d/f 5", "fallocate d/f 6", "stat d/f 6", "read d/f 6",
		"open d/f 6", "rename d/f 7", "remove d/g 8", "syncdir d 9", "readdir d 9", "stat d 9", "stat d 9", "lock l 10",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
