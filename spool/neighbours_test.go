package spool

import (
	"fmt"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// Two segments that follow each other are damaged at their beginning, their end, or both, and the process is killed. The spool opens, and the
// records of the others are there.
func TestDamagedNeighbours(t *testing.T) {
	type damage func(b []byte) []byte
	kinds := map[string]damage{
		"header":    func(b []byte) []byte { b[130] ^= 1; return b },
		"no header": func(b []byte) []byte { clear(b[:headerPad]); return b },
		"footer":    func(b []byte) []byte { b[len(b)-100] ^= 1; return b },
		"no footer": func(b []byte) []byte { return b[:len(b)-512] },
		"half":      func(b []byte) []byte { return b[:len(b)/2] },
		"both":      func(b []byte) []byte { b[130] ^= 1; return b[:len(b)-512] },
	}
	for a, first := range kinds {
		for b, second := range kinds {
			for number := range 3 { // of the first one, from 0; the last segment is the newest, and not sealed
				t.Run(fmt.Sprintf("%s, %s, %d", a, b, number+1), func(t *testing.T) {
					k, segments := fourSegments(t)
					for i, change := range []damage{first, second} {
						path := segments[number+i]
						b, err := vfs.ReadFile(k.mem, path, 1<<30)
						if err != nil {
							t.Fatal(err)
						}
						if err := vfs.WriteFileAtomic(k.mem, path, change(b)); err != nil {
							t.Fatal(err)
						}
					}
					for range 2 {
						s, err := open("/spool", k.mem, k.index.Open, &k.opts)
						if err != nil {
							t.Fatal(err)
						}
						mustSeal(t, s)
						read := stageAll(t, s)
						if l := s.Ledger(); l.Kept.Records != 40 || uint64(len(read))+l.Damaged.Records != 40 || l.Damaged.Records > 20 {
							t.Errorf("%d records can be read; kept %+v, damaged %+v: %+v", len(read), l.Kept, l.Damaged, s.shelf.Damages())
						}
						balanced(t, s)
						closeSpool(t, s)
					}
				})
			}
		}
	}
}

// fourSegments returns what a killed process leaves: four segments with ten records each, of which the last is not sealed, and their paths.
func fourSegments(t *testing.T) (k *world, segments []string) {
	t.Helper()
	w := newWorld(Options{Sync: SyncAlways, Destinations: []string{"a"}})
	s, err := open("/spool", w.mem, w.index.Open, &w.opts)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		mustAppend(t, s, batch(1+10*n, 10, 300))
		segments = append(segments, s.segPath(s.journal.active.number))
		if n < 3 {
			mustSeal(t, s)
		}
	}
	closeSpool(t, s)
	k = w.clone(processDies, index.Fate{})
	if err := k.mem.Remove(s.path(cleanName)); err != nil {
		t.Fatal(err)
	}
	return k, segments
}
