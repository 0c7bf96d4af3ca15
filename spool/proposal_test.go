package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// TestProposedFinal: a manifest that ends the chain may have arrived when the spool is opened again. Records that are kept from
// then on belong to the next epoch. The spool knows from the shipper, and not from the manifest's bytes, that it is final.
func TestProposedFinal(t *testing.T) {
	for _, final := range []bool{false, true} {
		d := memDir()
		o := Options{Destinations: []string{"b"}}
		s := d.open(t, o)
		mustAppend(t, s, batch(1, 3, 10))
		misleading := fmt.Appendf(nil, "{\"type\":\"footer\",\"final\":%v}\n", !final)
		if err := s.shelf.Propose("b", misleading, final); err != nil {
			t.Fatal(err)
		}
		closeSpool(t, s)
		s = d.open(t, o)
		want := uint32(1)
		if final {
			want = 2
		}
		if got := s.Stats().Epoch; got != want {
			t.Errorf("final %v: epoch %d after opening again, want %d", final, got, want)
		}
		if b, err := s.shelf.Proposed("b"); err != nil || !bytes.Equal(b, misleading) {
			t.Errorf("proposed is %q, %v", b, err)
		}
	}
}

// TestProposalFile holds the file of a proposal to its format, and reads what is damaged or newer.
func TestProposalFile(t *testing.T) {
	d := memDir()
	s := d.open(t, Options{Destinations: []string{"b"}})
	if err := s.shelf.Propose("b", []byte("the manifest\n"), true); err != nil {
		t.Fatal(err)
	}
	path := s.proposalPath("b")
	got, err := vfs.ReadFile(d.fs, path, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("{\"proposal\":1,\"spool\":%q,\"epoch\":1,\"number\":0,\"final\":true}\nthe manifest\n", s.Stats().Spool)
	if string(got) != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
	closeSpool(t, s)
	s = d.open(t, Options{Destinations: []string{"b"}}) // the process that has made the file knows better
	for _, c := range []struct {
		file, manifest string
		err            error
	}{
		{"{\"proposal\":1,\"spool\":\"another\",\"epoch\":1,\"number\":0}\nm", "", fs.ErrNotExist},
		{fmt.Sprintf("{\"proposal\":1,\"spool\":%q,\"epoch\":1,\"number\":1}\nm", s.Stats().Spool), "", fs.ErrNotExist},
		{"{\"proposal\":2}\nm", "", statefile.ErrNewer},
		{"damaged\nm", "m", nil},
	} {
		if err := vfs.WriteFileAtomic(d.fs, path, []byte(c.file)); err != nil {
			t.Fatal(err)
		}
		if b, err := s.shelf.Proposed("b"); string(b) != c.manifest || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.file, b, err, c.manifest, c.err)
		}
	}
}
