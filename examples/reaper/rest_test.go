package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// TestRestOfCopyIsNoProof: three copies of a volume were all writing the same segment. One copy has delivered the whole
// segment, and the second one its own rest of it, which has as many records as the third one's rest. The third one's rest is at
// no destination.
func TestRestOfCopyIsNoProof(t *testing.T) {
	dir := t.TempDir()
	volume := filepath.Join(dir, "volume")
	dests := map[string]ship.Destination{"idc": shiptest.Memory()}
	keep := func(dir, what string, n int) {
		t.Helper()
		s, err := spool.Open(dir, &spool.Options{
			Class: "vpn", Instance: "host-a", Destinations: []string{"idc"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20, Sync: spool.SyncNone,
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			_, aerr := s.Append(t.Context(), record(fmt.Sprintf("%s %d", what, i)))
			err = errors.Join(err, aerr)
		}
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	adopt := func(dir string) {
		t.Helper()
		r, err := drain.Adopt(t.Context(), dir, &drain.AdoptOptions{
			Work: t.TempDir(), Destinations: dests, MaxBytes: 64 << 20, Timeout: time.Minute, Ship: ship.Options{OwnerTimeout: time.Nanosecond},
		})
		if err != nil || r.Outcome != drain.Delivered {
			t.Fatalf("%v %+v", err, r)
		}
	}
	keep(volume, "shared", 5)
	// In one directory, so that they take themselves for the same volume, as after two snapshots.
	shared, first, second := filepath.Join(dir, "shared"), filepath.Join(dir, "first"), filepath.Join(dir, "second")
	replace := func(to, from string) {
		t.Helper()
		entries, err := os.ReadDir(to)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(to, e.Name())))
		}
		if err = errors.Join(err, os.CopyFS(to, os.DirFS(from))); err != nil {
			t.Fatal(err)
		}
	}
	replace(shared, volume)
	keep(volume, "first", 1)
	replace(first, volume)
	replace(volume, shared)
	keep(volume, "second", 3)
	replace(second, volume)
	replace(volume, shared)
	keep(volume, "volume", 3)
	adopt(first)
	adopt(second)
	p := &prover{}
	for name, d := range dests {
		p.places = append(p.places, audit.Place{Name: name, Destination: d})
	}
	if proof, err := p.prove(t.Context(), volume); err != nil || proof.Complete {
		t.Errorf("before the volume is adopted: %+v, %v", proof, err)
	}
	adopt(volume)
	for _, dir := range []string{volume, first, second} {
		if proof, err := p.prove(t.Context(), dir); err != nil || !proof.Complete {
			t.Errorf("%s, when all are adopted: %+v, %v", filepath.Base(dir), proof, err)
		}
	}
}
