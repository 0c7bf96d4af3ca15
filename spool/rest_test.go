package spool

import (
	"io"
	"testing"
)

// TestRestWithoutRaw: a segment's own file was given up for room when a chain turns out to contain its first records. What is
// staged of the rest is what it would have been before.
func TestRestWithoutRaw(t *testing.T) {
	s := memDir().open(t, Options{Destinations: []string{"a"}})
	all := batch(1, 10, 100)
	mustAppend(t, s, all)
	mustSeal(t, s)
	stage := func() (*StageRecord, string) {
		t.Helper()
		rec, body, done, err := s.shelf.StageRest(t.Context(), s.shelf.Sealed(0, 1)[0].Number, 7, lineEncoder{}, func(put Put) error {
			for i := range all {
				if err := put(uint64(i)+1, &all[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return rec, string(b)
	}
	before, was := stage()
	number := s.shelf.Sealed(0, 1)[0].Number
	if _, err := s.shelf.Stage(t.Context(), number, lineEncoder{}); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.shelf.halve(t.Context(), lineEncoder{}, number, true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if seg, _ := s.shelf.cat.get(number); !seg.NoRaw {
		t.Fatal("its own file is still there")
	}
	after, is := stage()
	if is != was || after.Key != before.Key || after.RawSHA256 != before.RawSHA256 || after.Bytes != before.Bytes || after.First != 7 || after.Records != 4 {
		t.Errorf("staged\n%s%+v\nbefore\n%s%+v", is, after, was, before)
	}
	if entries, err := s.fs.ReadDir(s.path(stageDir)); err != nil || len(entries) != 2 {
		t.Errorf("%v is left, %v", entries, err)
	}
}
