package spool

import (
	"fmt"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

// The files of two segments are swapped, and the headers in them are damaged so that only their fields can be guessed. The spool opens, and
// reports what it does not have: the fields of another segment leave no number for the records that are missing before it.
func TestSwappedWithoutHeaders(t *testing.T) {
	for a := range 3 { // swapped with the next one; the last is the newest segment
		t.Run(fmt.Sprint(a+1), func(t *testing.T) {
			k, segments := fourSegments(t)
			k.index = newWorld(k.opts).index // lost, so that the spool reads the files
			var files [][]byte
			for _, path := range segments {
				b, err := vfs.ReadFile(k.mem, path, 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				b[130] ^= 1
				files = append(files, b)
			}
			for i, j := range map[int]int{a: a + 1, a + 1: a} {
				if err := vfs.WriteFileAtomic(k.mem, segments[i], files[j]); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				s, err := open("/spool", k.mem, k.index.Open, &k.opts)
				if err != nil {
					t.Fatal(err)
				}
				mustSeal(t, s)
				read, lost := stageAll(t, s), s.Ledger().Damaged.Records
				for n := range uint64(40) {
					if _, ok := read[n+1]; !ok {
						lost--
					}
				}
				if l := s.Ledger(); l.Kept.Records != 40 || lost != 0 || l.Damaged.Records > 20 {
					t.Errorf("%d records can be read; kept %+v, damaged %+v: %+v", len(read), l.Kept, l.Damaged, s.shelf.Damages())
				}
				t.Logf("%d records can be read", len(read))
				balanced(t, s)
				closeSpool(t, s)
			}
		})
	}
}
