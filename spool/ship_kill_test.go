package spool_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// killAll runs the whole sweep: go test -run KilledShipping ./spool -kill.all
var killAll = flag.Bool("kill.all", false, "shipping: end it at every step, not at a choice of them")

var (
	errDead    = errors.New("the host is dead")
	errUnclean = errors.New("the spool was not closed in good order")
)

// death ends a host at its n-th step. A step is an operation that changes the disk, a transaction of the index, or a
// request to a destination, before it and after it. From then on nothing that the host does has any effect; its state is
// cloned at that moment. (That is kill -9 if the clone has all writes, and a power cut if not.)
type death struct {
	at    int
	crash vfs.Crash
	host  *spool.MemHost
	fault vfs.Hook // before all that: what the disk does to a host that lives on; nil for nothing

	mu    sync.Mutex
	n     int
	kinds map[string]int // steps by what they belong to
	where string         // the step at which it ended
	left  *spool.MemHost // what the crash left; nil while alive
	dead  chan struct{}
}

func (d *death) step(kind, what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left != nil {
		return errDead
	}
	d.n++
	d.kinds[kind]++
	if d.n != d.at {
		return nil
	}
	d.where, d.left = kind+": "+what, d.host.Crash(d.crash)
	close(d.dead)
	return errDead
}

func (d *death) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left != nil
}

// file is the step of an operation on the spool's files.
func (d *death) file(op vfs.Op) error {
	if d.fault != nil {
		if err := d.fault(op); err != nil {
			return err
		}
	}
	if !op.Kind.Mutates() {
		if d.gone() {
			return errDead
		}
		return nil
	}
	path := strings.TrimPrefix(op.Path, "/spool/")
	kind := "log"
	switch {
	case strings.HasPrefix(path, "stage/") && op.Kind == vfs.OpRemove, strings.HasPrefix(path, "seg/") && (op.Kind == vfs.OpRemove || op.Kind == vfs.OpRename):
		kind = "delete"
	case strings.HasPrefix(path, "stage"):
		kind = "stage"
	case strings.HasPrefix(path, "chain/") && strings.Contains(path, ".next"):
		kind = "propose"
	case strings.HasPrefix(path, "chain"):
		kind = "ack"
	}
	return d.step(kind, op.Kind.String()+" "+path)
}

// request is the plan of a destination.
func (d *death) request(c shiptest.Call) shiptest.Fault {
	kind := "put"
	switch {
	case c.Op != shiptest.Put:
		kind = "verify"
	case strings.HasPrefix(c.Key, "_manifest/"):
		kind = "manifest"
	}
	step := func(when string) func(context.Context) error {
		return func(context.Context) error { return d.step(kind, when+" "+c.Key) }
	}
	return shiptest.Fault{Before: step("before"), After: step("after")}
}

// places are two destinations; they outlive every host.
type places map[string]*shiptest.MemoryDestination

// life is one host's: it keeps records in three segments, ships them, verifies, closes out and deletes. kept is the last
// record that Append has returned for.
func life(ctx context.Context, d *death, to places, segments int) (kept uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // of fake time: who does not get on for so long never does
	defer cancel()
	go func() {
		select {
		case <-d.dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	sp, err := d.host.Open(d.file, func() error { return d.step("index", "transaction") }, &spool.Options{
		Class: "vpn", Destinations: []string{"idc", "s3"}, Sync: spool.SyncAlways,
	})
	if err != nil {
		return 0, err
	}
	defer sp.Close()
	kept = sp.Stats().Appended
	dests := map[string]ship.Destination{}
	for name, p := range to {
		dests[name] = shiptest.Faulty(p, d.request)
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: dests, Codec: "none", Workers: 2})
	if err != nil {
		return kept, err
	}
	done := make(chan struct{})
	go func() { _ = sh.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	for range segments {
		batch := make([]segment.Record, 5)
		for i := range batch {
			batch[i] = segment.Record{Time: int64(i), Data: record(kept + uint64(i) + 1)}
		}
		last, err := sp.Append(ctx, batch)
		if err != nil {
			return kept, err
		}
		kept = last
		if err := sp.Seal(ctx); err != nil {
			return kept, err
		}
	}
	if err := sh.Flush(ctx); err != nil {
		return kept, err
	}
	if _, err := sh.Verify(ctx); err != nil {
		return kept, err
	}
	for _, name := range slices.Sorted(maps.Keys(to)) {
		if err := sh.Finalize(ctx, name); err != nil {
			return kept, err
		}
	}
	for sp.Stats().Segments > 0 {
		select {
		case <-sp.Shelf().Changed():
		case <-time.After(time.Second): // of fake time
			if d.gone() {
				return kept, errDead
			}
			if ctx.Err() != nil {
				return kept, fmt.Errorf("%d segments are not deleted", sp.Stats().Segments)
			}
		}
	}
	if err := sp.Close(); err != nil {
		return kept, fmt.Errorf("%w: %w", errUnclean, err)
	}
	return kept, nil
}

func record(seq uint64) []byte { return fmt.Appendf(nil, "record %d", seq) }

// TestKilledShipping ends a host at every step of stage, put, verify, propose, manifest, ack and delete, once as by
// kill -9 and once by a power cut. The next process continues with whatever it finds; then the auditor finds every record once
// at each destination, including all that were ever kept.
func TestKilledShipping(t *testing.T) {
	crashes := []vfs.Crash{
		{Data: vfs.DataKept, Names: vfs.NamesKept}, // the death of the process alone
		{Data: vfs.DataMixed, Names: vfs.NamesJournal, Seed: 1},
		{Data: vfs.DataDropped, Names: vfs.NamesStrict},
	}
	kinds := map[string]int{}
	points := 0
	for i, crash := range crashes {
		stride := 1
		if !*killAll && i > 0 {
			stride = 12
		}
		for at := 1; ; at += stride {
			var survived bool
			synctest.Test(t, func(t *testing.T) { survived = killOnce(t, at, crash, kinds) })
			if survived {
				break
			}
			points++
			if t.Failed() {
				return // the first one tells enough
			}
		}
	}
	t.Logf("%d points; the steps of one life: %v", points, kinds)
	if points < 200 {
		t.Errorf("%d points, at least 200 are wanted", points)
	}
	for _, kind := range []string{"log", "stage", "put", "verify", "propose", "manifest", "ack", "index", "delete"} {
		if kinds[kind] == 0 {
			t.Errorf("no step of %s: the test does not see it", kind)
		}
	}
}

// killOnce reports whether the host lived to its end. kinds are then the steps that it has made.
func killOnce(t *testing.T, at int, crash vfs.Crash, kinds map[string]int) (survived bool) {
	to := places{"idc": shiptest.Memory(), "s3": shiptest.Memory()}
	d := &death{at: at, crash: crash, host: spool.NewMemHost(), kinds: map[string]int{}, dead: make(chan struct{})}
	kept, err := life(t.Context(), d, to, 3)
	if survived = !d.gone(); survived {
		if err != nil {
			t.Errorf("a life without a fault: %v", err)
		}
		maps.Copy(kinds, d.kinds)
		proven(t, to, kept, kept)
		return true
	}
	// Nobody waits for a head, nor for the check of a destination, which has no key.
	if err == nil && !strings.Contains(d.where, "/heads/") && !strings.HasSuffix(d.where, " ") {
		t.Errorf("ended at step %d (%s), and did not notice", at, d.where)
	}
	next := &death{host: d.left, kinds: map[string]int{}, dead: make(chan struct{})}
	all, err := life(t.Context(), next, to, 1)
	if err != nil {
		t.Errorf("after step %d (%s, %s): %v", at, d.where, crash, err)
		return false
	}
	if !proven(t, to, all, kept) {
		t.Errorf("after step %d (%s, %s)", at, d.where, crash)
	}
	return false
}

// proven checks that every destination has all records to the last, and that those are at least what was kept.
func proven(t *testing.T, to places, all, kept uint64) bool {
	o := &audit.Options{Deep: true}
	for _, name := range slices.Sorted(maps.Keys(to)) {
		o.Places = append(o.Places, audit.Place{Name: name, Destination: to[name]})
	}
	r, err := audit.Run(t.Context(), o)
	if err != nil {
		t.Error(err)
		return false
	}
	ok := r.Verdict == audit.Complete && len(r.Chains) == len(to) && all >= kept
	for _, c := range r.Chains {
		ok = ok && c.Last == all && c.Records == all
	}
	if !ok {
		var b bytes.Buffer
		_ = r.WriteText(&b)
		t.Errorf("%d records were kept, %d are in the log; the audit:\n%s", kept, all, &b)
		return false
	}
	for name, p := range to {
		if err := contents(t.Context(), p, all); err != nil {
			t.Errorf("%s: %v", name, err)
			ok = false
		}
	}
	return ok
}

// contents checks what the objects hold, without the help of any chain.
func contents(ctx context.Context, p *shiptest.MemoryDestination, all uint64) error {
	seen := make([]bool, all+1)
	for _, key := range p.Keys() {
		if !strings.HasPrefix(key, "class=") {
			continue
		}
		r, err := format.NewReader(format.NDJSON, bytes.NewReader(p.Bytes(key)))
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			seq, rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if seq < 1 || seq > all || seen[seq] || !bytes.Equal(rec.Data, record(seq)) {
				return fmt.Errorf("%s: record %d is doubled, altered or nobody's: %q", key, seq, rec.Data)
			}
			seen[seq] = true
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	if i := slices.Index(seen[1:], false); i >= 0 {
		return fmt.Errorf("record %d is not there", i+1)
	}
	return nil
}
