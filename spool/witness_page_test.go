package spool

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// A page has the same bytes as statefile.Seal makes, whatever the note's strings and numbers are.
func TestNoteIsSealedJSON(t *testing.T) {
	created := time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)
	for _, instance := range []string{"", "host", "a\",\n  \"end\": <&>\u2028\xff", strings.Repeat("i", 2000)} {
		p := new(notePage)
		for _, b := range []begun{
			{Version: 1, Turn: 1, Spool: "s", Segment: 7, First: 1, Epoch: 3, Created: created, Instance: instance, Size: 1 << 26, Next: 1},
			{Version: 1, Turn: math.MaxUint64, Spool: "s", Segment: 7, First: 1, Epoch: 3, Created: created, Instance: instance, Size: 1 << 26, End: math.MaxInt64, Next: math.MaxUint64, Bytes: math.MaxUint64, Ended: true},
			{Version: 1, Turn: 3, Spool: "s", Segment: 7, First: 1, Epoch: 3, Created: created, Instance: instance, Size: 1 << 26, End: 4096, Next: 12, Bytes: 345},
		} {
			want, err := statefile.Seal(b)
			if err != nil {
				t.Fatal(err)
			}
			page, err := p.encode(&b)
			if err != nil || len(page) != witnessPage || !bytes.Equal(bytes.TrimRight(page, "\x00"), want) {
				t.Errorf("%v\n%s\nwant\n%s", err, page, want)
			}
		}
	}
	if _, err := new(notePage).encode(&begun{Instance: strings.Repeat("i", witnessPage)}); err == nil {
		t.Error("a note that is longer than its page is cut")
	}
}

// A note costs no allocation: a busy spool writes a hundred a second.
func TestNoteDoesNotAllocate(t *testing.T) {
	dir := t.TempDir()
	var w witness
	if err := w.open(vfs.OS(), dir, filepath.Join(dir, begunName), nil); err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.startSegment(begun{Spool: "s", Segment: 1, First: 1, Next: 1, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	n := testing.AllocsPerRun(100, func() {
		seq++
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := w.note(progress{1, int64(seq), place{seq: seq, bytes: seq}}, false); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a note", n)
	}
}

// refusing is a file that refuses every write.
type refusing struct{ vfs.File }

func (refusing) WriteAt([]byte, int64) (int, error) { return 0, errors.New("refused") }

// A segment whose beginning could not be noted leaves nothing of itself in a later note of the one before.
func TestNoteAfterRefusedBeginning(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, begunName)
	var w witness
	if err := w.open(vfs.OS(), dir, path, nil); err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.startSegment(begun{Spool: "s", Segment: 1, First: 1, Next: 1}); err != nil {
		t.Fatal(err)
	}
	f := w.f
	w.f = refusing{f}
	if err := w.startSegment(begun{Spool: "s", Segment: 2, First: 9, Next: 9}); err == nil {
		t.Fatal("nothing was refused")
	}
	w.f = f
	if err := w.mark(1, 4096, place{seq: 5, bytes: 50}, false); err != nil {
		t.Fatal(err)
	}
	if b, err := loadBegun(vfs.OS(), path, "s"); err != nil || b.Segment != 1 || b.First != 1 || b.Next != 6 {
		t.Errorf("%+v, %v", b, err)
	}
}
