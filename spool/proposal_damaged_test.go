package spool

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
)

// The file of a proposed manifest is damaged while its process retries to deliver it: the process proposes the same bytes again, and they
// replace the damaged file. Other bytes are refused, since the first ones may have arrived.
func TestProposalDamagedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDir()
		s := d.open(t, Options{Destinations: []string{"a"}})
		defer closeSpool(t, s)
		manifest := []byte("a manifest that has not arrived")
		if err := s.shelf.Propose("a", manifest, false); err != nil {
			t.Fatal(err)
		}
		b, err := s.shelf.Proposed("a")
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.fs.Open(s.proposalPath("a"))
		if err != nil {
			t.Fatal(err)
		}
		size, err := sizeOf(f, 1<<20)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		flipAt(t, d, s.proposalPath("a"), size-int64(len(b))/2)
		if err := s.shelf.Propose("a", []byte("another manifest"), false); err == nil {
			t.Error("another manifest is accepted")
		}
		if err := s.shelf.Propose("a", manifest, false); err != nil {
			t.Error(err)
		}
		if b, err := s.shelf.Proposed("a"); err != nil || string(b) != string(manifest) {
			t.Errorf("%q, %v", b, err)
		}
		// It has arrived, and the file is gone before it is acknowledged.
		if err := d.fs.Remove(s.proposalPath("a")); err != nil {
			t.Fatal(err)
		}
		c, err := s.shelf.Chain("a")
		if err != nil {
			t.Fatal(err)
		}
		c.Next, c.Hash = c.Next+1, sha256.Sum256(manifest)
		if err := s.shelf.Ack("a", c); err != nil {
			t.Error(err)
		}
		if _, err := s.shelf.Proposed("a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after the acknowledgement: %v", err)
		}
	})
}
