package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// TestCopyIsNoProof: a copy of a volume was delivered and its chain is final, with more records than the volume has. The copy's
// chain contains the numbers of the volume's own records, but those records are at no destination. The auditor can detect that
// without the collector. Once the volume is adopted, it is proven, in the same chains and in those of a related spool.
func TestCopyIsNoProof(t *testing.T) {
	volume, other := filepath.Join(t.TempDir(), "volume"), filepath.Join(t.TempDir(), "copy")
	dests := map[string]ship.Destination{"idc": shiptest.Memory(), "s3": shiptest.Memory()}
	keep := func(dir string, from, n int) {
		t.Helper()
		s, err := spool.Open(dir, &spool.Options{
			Class: "vpn", Instance: "host-a", Destinations: []string{"idc", "s3"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20, Sync: spool.SyncNone,
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			_, aerr := s.Append(t.Context(), record(fmt.Sprintf("record %d", from+i)))
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
	p := &prover{}
	for name, d := range dests {
		p.places = append(p.places, audit.Place{Name: name, Destination: d})
	}
	keep(volume, 0, 5)
	if err := os.CopyFS(other, os.DirFS(volume)); err != nil {
		t.Fatal(err)
	}
	keep(volume, 5, 3)
	keep(other, 1000, 10)
	adopt(other)
	if proof, err := p.prove(t.Context(), volume); err != nil || proof.Complete || !strings.Contains(proof.Why, "a copy of the volume may have delivered others") {
		t.Errorf("before the volume is adopted: %+v, %v", proof, err)
	}
	adopt(volume)
	for _, dir := range []string{volume, other} {
		if proof, err := p.prove(t.Context(), dir); err != nil || !proof.Complete {
			t.Errorf("%s, when both are adopted: %+v, %v", filepath.Base(dir), proof, err)
		}
	}
}
