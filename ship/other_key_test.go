package ship_test

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// signedWith gives a Shipper the n-th key.
func signedWith(n byte) func(*ship.Options) {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return func(o *ship.Options) { o.Signer = ed25519.NewKeyFromSeed(seed) }
}

// TestSnapshotWithNewKey: a volume is restored from a snapshot, and its sender has been given a key since, or another one. The sender
// has signed nothing in the chain yet. It delivers nothing again that its former life has delivered after the snapshot.
func TestSnapshotWithNewKey(t *testing.T) {
	for name, before := range map[string][]func(*ship.Options){"unsigned": {quick}, "another key": {quick, signedWith(1)}} {
		t.Run(name, func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": mem}
			b := newBench(t, d)
			b.segments(2, 10)
			b.ship(d, before...)
			b.flush()
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b.segments(2, 10)
			snapshot := filepath.Join(t.TempDir(), "snapshot")
			if err := os.CopyFS(snapshot, os.DirFS(b.dir)); err != nil {
				t.Fatal(err)
			}
			b.ship(d, before...)
			b.flush()
			b.close()

			r := openBench(t, snapshot, d, "host-a")
			r.next = 1000
			r.segments(1, 10)
			r.ship(d, quick, signedWith(2))
			r.flush()
			if err := r.s.Finalize(t.Context(), "s3"); err != nil {
				t.Error(err)
			}
			want(t, delivered(t, mem, true), numbered(0, 40), numbered(1000, 10))
		})
	}
}

// TestClaimWithNewKey: an adopter with a key that nobody has used in the chain gives way to a living adopter with another one.
func TestClaimWithNewKey(t *testing.T) {
	d := destinations{"s3": shiptest.Memory()}
	dir, _ := orphan(t, d, d)
	for n, want := range []error{nil, ship.ErrFenced} {
		sp, s := adopted(t, dir, t.TempDir(), d, signedWith(byte(n)))
		if err := s.Claim(t.Context()); !errors.Is(err, want) {
			t.Errorf("adopter %d: %v, want %v", n, err, want)
		}
		sp.Close()
	}
}
