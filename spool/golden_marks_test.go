package spool

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// Marks are the small files that a spool rarely has: the mark that an adopter leaves in its source, the ledger of a log without
// segments, and the files about damage and what was given up of it.
var (
	goldenMarks = filepath.Join(goldenDir, "marks")
	goldenTime  = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
)

const goldenSpool = "0123456789abcdefghijklmnop"

func goldenLedger() segment.Ledger {
	l := segment.Ledger{Version: 1, Time: goldenTime}
	l.Received = segment.Tally{Records: 40, Bytes: 4000}
	l.Kept = segment.Tally{Records: 38, Bytes: 3800}
	l.Lost[segment.KernelOverflow] = segment.Loss{Records: 2, BytesUnknown: true}
	return l
}

func goldenAdoption() adoption {
	return adoption{
		Version: 1, Time: goldenTime, Spool: goldenSpool, Class: "golden", Epoch: 3, Instance: "adopter", Segment: 7, Through: 38,
		Ledger: goldenLedger(),
		Chains: map[string]chainFile{"idc": {
			Version: 1, Destination: "idc", Spool: goldenSpool, Class: "golden",
			Chain:     chainJSON{Chain: Chain{Epoch: 3, Next: 5, Segment: 7, Through: 38, Joined: 1, Final: true}},
			Delivered: segment.Tally{Records: 38, Bytes: 3800},
		}},
	}
}

func goldenNote() damageNote {
	return damageNote{Version: 1, Class: "golden", Damage: Damage{
		Segment: 7, Ranges: []segment.Range{{First: 11, Last: 12}}, Records: 2, Bytes: 200, Files: []string{"0000000000000007.seg"}, Found: goldenTime, Why: "checksum",
	}}
}

func goldenGivenUp() givenUp {
	return givenUp{
		Version: 1, Spool: goldenSpool, Class: "golden", Segment: 7, Ranges: []segment.Range{{First: 11, Last: 12}}, Time: goldenTime,
	}
}

// TestGoldenMarks reads those that version 0.1 has written.
func TestGoldenMarks(t *testing.T) {
	if *update {
		writeGoldenMarks(t)
	}
	fsys := vfs.OS()
	m, err := loadAdoption(fsys, goldenMarks)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "adopted", *m, goldenAdoption())

	s := newSite(nil, goldenMarks, fsys, goldenOptions().withDefaults())
	l, err := s.loadLedger()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ledger", l, ledgerFile{goldenLedger(), 7})

	d := &damages{site: s}
	if err := d.load(); err != nil {
		t.Fatal(err)
	}
	same(t, "note", *d.notes[7], goldenNote())

	g, err := loadGivenUp(fsys, goldenMarks, 7)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "given up", *g, goldenGivenUp())
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n%+v, want\n%+v", what, got, want)
	}
}

func writeGoldenMarks(t *testing.T) {
	for name, v := range map[string]any{
		adoptedName: goldenAdoption(), ledgerName: ledgerFile{goldenLedger(), 7},
		filepath.Join(damagedDir, numberName(7)+noteExt):    goldenNote(),
		filepath.Join(damagedDir, numberName(7)+givenUpExt): goldenGivenUp(),
	} {
		b, err := statefile.Seal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(goldenMarks, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
