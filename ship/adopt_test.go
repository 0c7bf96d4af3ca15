package ship_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// orphan makes a spool whose process is gone. It has 6 segments of 10 records, of which the reachable destinations have 3,
// and 5 more records that were not sealed.
func orphan(t *testing.T, d, reached destinations) (dir string, b *bench) {
	t.Helper()
	b = newBench(t, d)
	b.segments(3, 10)
	if len(reached) == len(d) {
		b.ship(d)
		b.flush()
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
	}
	b.segments(3, 10)
	b.append(5)
	dir = filepath.Join(t.TempDir(), "orphan")
	if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil { // as a kill would leave it
		t.Fatal(err)
	}
	return dir, b
}

// adopted opens an orphan and its Shipper.
func adopted(t *testing.T, dir, work string, d destinations, change ...func(*ship.Options)) (*spool.Spool, *ship.Shipper) {
	t.Helper()
	sp, err := spool.Adopt(dir, &spool.AdoptOptions{Work: work, Instance: "adopter", Destinations: d.names(), MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	o := &ship.Options{Destinations: d, Codec: "zstd", Level: 1}
	for _, f := range change {
		f(o)
	}
	s, err := ship.New(sp, o)
	if err != nil {
		t.Fatal(err)
	}
	return sp, s
}

// complete ships everything that is there and closes the chains.
func complete(t *testing.T, s *ship.Shipper, d destinations) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err := s.Flush(ctx)
	for name := range d {
		if err == nil {
			err = s.Finalize(ctx, name)
		}
	}
	cancel()
	return errors.Join(err, <-done)
}

var raceRounds = flag.Int("adopt.races", 20, "how often two adopters race")

// TestAdoptersRace: if two hosts adopt copies of one volume at the same time, one of them wins, at every destination.
func TestAdoptersRace(t *testing.T) {
	rounds := *raceRounds
	var won [2]int
	one, b := orphan(t, destinations{"idc": shiptest.Memory(), "s3": shiptest.Memory()}, nil)
	two := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(two, os.DirFS(one)); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		d := destinations{"idc": shiptest.Memory(), "s3": shiptest.Memory()} // as if the volume were a new one
		var errs [2]error
		var sps [2]*spool.Spool
		var shippers [2]*ship.Shipper
		work := t.TempDir()
		for i, dir := range []string{one, two} {
			sps[i], shippers[i] = adopted(t, dir, filepath.Join(work, fmt.Sprint(i)), d)
		}
		var wg sync.WaitGroup
		for i, s := range shippers {
			wg.Go(func() { errs[i] = s.Claim(t.Context()) })
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !errors.Is(errs[1-winner], ship.ErrFenced) {
			t.Fatalf("first: %v\nsecond: %v", errs[0], errs[1])
		}
		won[winner]++
		for i, s := range shippers {
			wg.Go(func() { errs[i] = complete(t, s, d) })
		}
		wg.Wait()
		// The loser may try again so late that nothing is left to do: even then it has written nothing.
		if loser := errs[1-winner]; errs[winner] != nil || loser != nil && !errors.Is(loser, ship.ErrFenced) {
			t.Fatalf("the winner: %v\nthe loser: %v", errs[winner], loser)
		}
		for _, dest := range d {
			auditChain(t, dest, b.sp.Stats().Spool, b.next, 1, 2)
		}
		for i := range sps {
			sps[i].Close()
		}
	}
	t.Logf("%d rounds: the first won %d, the second %d", rounds, won[0], won[1])
}

// TestAdoptLeaves: the adopter recognises what the old owner has delivered, and the old owner is fenced. A second adopter
// gives way to a first one that is alive, and takes its place once it is dead. Nothing is delivered twice.
func TestAdoptLeaves(t *testing.T) {
	mems := map[string]*shiptest.MemoryDestination{"idc": shiptest.Memory(), "s3": shiptest.Memory()}
	d := destinations{"idc": mems["idc"], "s3": mems["s3"]}
	dir, owner := orphan(t, d, d)
	work := t.TempDir()

	// The first adopter claims, delivers to one destination alone, and is gone.
	sp, s := adopted(t, dir, filepath.Join(work, "a"), d)
	if err := s.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Claim(t.Context()); err != nil {
		t.Errorf("claiming again: %v", err)
	}
	if c, err := sp.Shelf().Chain("idc"); err != nil || c.Epoch != 2 || c.Next != 1 {
		t.Errorf("after the claim %+v, %v", c, err)
	}
	sp.Close()

	sp, s = adopted(t, dir, filepath.Join(work, "b"), d)
	err := s.Claim(t.Context())
	if !errors.Is(err, ship.ErrFenced) || !strings.Contains(err.Error(), "adopter is delivering") {
		t.Errorf("with another adopter at work: %v", err)
	}
	sp.Close()
	sp, s = adopted(t, dir, filepath.Join(work, "b"), d, func(o *ship.Options) { o.OwnerTimeout = time.Nanosecond })
	if err := errors.Join(s.Claim(t.Context()), complete(t, s, d), sp.Shelf().MarkAdopted()); err != nil {
		t.Fatal(err)
	}
	sp.Close()
	for name, mem := range mems {
		chain := auditChain(t, mem, owner.sp.Stats().Spool, owner.next, 1, 2, 3)
		if last := chain[len(chain)-1]; !last.Footer.Final {
			t.Errorf("%s: the chain ends with %+v", name, last.Footer)
		}
	}

	// The owner comes back and continues the chain in the next epoch.
	owner.ship(d)
	owner.segments(2, 11)
	owner.flush()
	for _, mem := range mems {
		want(t, delivered(t, mem, false), numbered(0, owner.next))
	}
	if _, err := spool.Adopt(dir, &spool.AdoptOptions{Work: work}); !errors.Is(err, spool.ErrAdopted) {
		t.Errorf("adopting once more: %v", err)
	}
	// The first adopter finds that everything is delivered.
	if err := os.Remove(filepath.Join(dir, "adopted")); err != nil {
		t.Fatal(err)
	}
	sp, s = adopted(t, dir, filepath.Join(work, "a"), d)
	defer sp.Close()
	if err := complete(t, s, d); err != nil {
		t.Errorf("the first adopter: %v", err)
	}
	for _, mem := range mems {
		want(t, delivered(t, mem, false), numbered(0, owner.next))
	}
}

// TestAdoptComplete: if a volume's mark was lost or could not be made, an adopter that has only the volume finds it complete
// and writes nothing.
func TestAdoptComplete(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	dir, owner := orphan(t, d, nil)
	sp, s := adopted(t, dir, t.TempDir(), d)
	if err := complete(t, s, d); err != nil {
		t.Fatal(err)
	}
	sp.Close()
	before := len(auditChain(t, mem, owner.sp.Stats().Spool, owner.next, 1, 2))
	sp, s = adopted(t, dir, t.TempDir(), d)
	defer sp.Close()
	if err := complete(t, s, d); err != nil {
		t.Fatal(err)
	}
	if after := len(auditChain(t, mem, owner.sp.Stats().Spool, owner.next, 1, 2)); after != before {
		t.Errorf("%d manifests more", after-before)
	}
	if err := sp.Shelf().MarkAdopted(); err != nil {
		t.Error(err)
	}
}
