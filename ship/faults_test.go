package ship_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// isData tells objects from manifests.
func isData(c shiptest.Call) bool { return strings.HasPrefix(c.Key, "class=") }

// bubble selects a codec other than zstd, whose shared encoders cannot be used in more than one bubble of fake time.
func bubble(o *ship.Options) { o.Codec = "gzip" }

// TestDeadDestination: one destination is dead for an hour. The other gets everything at once; the dead one gets it after its
// recovery, after at most one back-off.
func TestDeadDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := errors.New("connection refused")
		s3, idc := shiptest.Memory(), shiptest.Memory()
		down := shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(dead) })
		d := destinations{"s3": s3, "idc": down}
		b := newBench(t, d)
		defer b.close()
		b.ship(d, bubble)
		for range 60 {
			b.segments(1, 10)
			time.Sleep(time.Minute)
			if st := b.s.Stats()["s3"]; st.State != ship.StateOK || st.PendingSegments != 0 {
				t.Fatalf("s3 waits for idc: %+v", st)
			}
		}
		b.audit(s3)
		st := b.s.Stats()["idc"]
		if st.State != ship.StateRetrying || !errors.Is(st.Err, dead) || st.PendingSegments != 60 || time.Until(st.NextAttempt) > 30*time.Second || st.ETA >= 0 {
			t.Errorf("idc: %+v", st)
		}
		if lag := time.Since(st.Oldest); lag < time.Hour || lag > time.Hour+time.Second || st.Failures[ship.FailureTransient] < 60 || !st.LastSuccess.IsZero() {
			t.Errorf("idc is behind by %v, after %v, last success %v", lag, st.Failures, st.LastSuccess)
		}
		if st := b.s.Stats()["s3"]; !st.Oldest.IsZero() || len(st.Failures) > 0 || time.Since(st.LastSuccess) > 2*time.Minute || sum(st.Put.Counts) < 120 || st.Chain.Through != 600 {
			t.Errorf("s3: oldest %v, failures %v, last success %v, puts %v, chain %+v", st.Oldest, st.Failures, st.LastSuccess, st.Put.Counts, st.Chain)
		}
		if len(idc.Keys()) != 0 || b.sp.Stats().Segments != 60 {
			t.Errorf("%d objects at idc, %d segments here", len(idc.Keys()), b.sp.Stats().Segments)
		}
		if n := b.sp.Stats().Staged; n != 60 {
			t.Errorf("%d segments are staged", n)
		}
		down.SetPlan(nil)
		back := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for b.s.Stats()["idc"].PendingSegments > 0 {
			select {
			case <-ship.Changed(b.s):
			case <-ctx.Done():
				t.Fatal("idc never catches up")
			}
		}
		if took := time.Since(back); took > 31*time.Second {
			t.Errorf("it took %v to notice that idc is back", took)
		}
		b.audit(idc)
		time.Sleep(31 * time.Second) // fake time: the check may still wait to be tried again
		synctest.Wait()
		if log := b.log.String(); strings.Count(log, "destination fails") > 70 || !strings.Contains(log, "works again") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func sum(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestFlushResetsBackoff: a drain does not sleep through the end of an outage.
func TestFlushResetsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := shiptest.Memory()
		f := shiptest.Faulty(mem, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
		d := destinations{"s3": f}
		b := newBench(t, d)
		defer b.close()
		b.segments(5, 10)
		b.ship(d, bubble)
		time.Sleep(time.Hour)
		f.SetPlan(nil)
		begin := time.Now()
		b.flush()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Flush took %v", took)
		}
		b.audit(mem)
	})
}

// TestPermanent: a failure that only an operator can cure is logged within 10 s, with the cure, and probed. Once cured,
// delivery continues.
func TestPermanent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := ship.Permanent(errors.New("access denied: allow s3:PutObject on bucket b"))
		s3, idc := shiptest.Memory(), shiptest.Memory()
		f := shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(denied) })
		d := destinations{"s3": s3, "idc": f}
		b := newBench(t, d)
		defer b.close()
		b.segments(3, 10)
		b.ship(d, bubble)
		time.Sleep(10 * time.Second)
		if log := b.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "allow s3:PutObject") || !strings.Contains(log, "destination=idc") {
			t.Errorf("after 10 s the log says:\n%s", log)
		}
		if st := b.s.Stats()["idc"]; st.State != ship.StateParked || time.Until(st.NextAttempt) > 30*time.Second {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Hour)
		if n := f.Calls(shiptest.Put) + f.Calls(shiptest.Check) + f.Calls(shiptest.Open); n > 3*122 {
			t.Errorf("%d calls in an hour: it hammers", n)
		}
		f.SetPlan(nil)
		time.Sleep(31 * time.Second)
		if st := b.s.Stats()["idc"]; st.State != ship.StateOK || st.PendingSegments != 0 {
			t.Errorf("cured: %+v", st)
		}
		b.audit(idc)
		b.audit(s3)
	})
}

// TestSilentDestination: a destination that does not answer is logged within 10 s, and delays no start.
func TestSilentDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := shiptest.Memory()
		f := shiptest.Faulty(mem, func(shiptest.Call) shiptest.Fault { return shiptest.Delay(24 * time.Hour) })
		d := destinations{"s3": f}
		b := newBench(t, d)
		defer b.close()
		b.ship(d, bubble)
		time.Sleep(10 * time.Second)
		if log := b.log.String(); !strings.Contains(log, "has not answered the check for 8 s") {
			t.Errorf("after 10 s the log says:\n%s", log)
		}
	})
}

// TestConflict: a key is taken by a stranger's bytes. They are never touched, and the other destination continues. Once they
// are removed, the chain continues too.
func TestConflict(t *testing.T) {
	s3, idc := shiptest.Memory(), shiptest.Memory()
	var once sync.Once
	var taken atomic.Pointer[string]
	d := destinations{"s3": s3, "idc": shiptest.Faulty(idc, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && isData(c) {
			once.Do(func() { idc.Set(c.Key, []byte("a stranger's")); taken.Store(&c.Key) })
		}
		return shiptest.Fault{}
	})}
	b := newBench(t, d)
	b.segments(10, 10)
	b.ship(d)
	b.until("the conflict is told", func() bool { return b.s.Stats()["idc"].State == ship.StateConflict })
	b.until("the other goes on", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Each Flush makes the lane retry at once, so it may be about to find the conflict again.
	b.until("Flush tells it", func() bool {
		err := b.s.Flush(ctx)
		return errors.Is(err, ship.ErrConflict) && errors.Is(err, ship.ErrIncomplete)
	})
	b.audit(s3)
	b.until("it is told again", func() bool {
		st := b.s.Stats()
		return st["idc"].State == ship.StateConflict && st["s3"].State == ship.StateOK
	})
	if got := string(idc.Bytes(*taken.Load())); got != "a stranger's" {
		t.Errorf("the stranger's object is now %q", got)
	}
	if log := b.log.String(); !strings.Contains(log, *taken.Load()) {
		t.Errorf("the log does not name the key:\n%s", log)
	}
	idc.Remove(*taken.Load())
	b.flush()
	b.audit(idc)
}

// TestConflictOurs: an earlier process has stored the same content in another compression. That is no conflict: its own
// checksum is the receipt.
func TestConflictOurs(t *testing.T) {
	s3, idc := shiptest.Memory(), shiptest.Memory()
	d := destinations{"s3": s3, "idc": shiptest.Faulty(idc, func(c shiptest.Call) shiptest.Fault {
		if c.Op != shiptest.Put || !isData(c) {
			return shiptest.Fault{}
		}
		return shiptest.Fault{Before: func(context.Context) error {
			stored := s3.Bytes(c.Key)
			if stored == nil {
				return errors.New("not yet")
			}
			if idc.Bytes(c.Key) == nil {
				idc.Set(c.Key, recompress(t, stored))
			}
			return nil
		}}
	})}
	b := newBench(t, d)
	b.segments(4, 100)
	b.ship(d, quick)
	b.flush()
	if _, err := b.s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	for i, line := range lines(b.audit(idc)) {
		if line.Receipt.Checksum == lines(b.audit(s3))[i].Receipt.Checksum {
			t.Errorf("segment %d: not recompressed, the test is void", line.Segment)
		}
	}
}

func recompress(t *testing.T, stored []byte) []byte {
	c, err := compress.ByName("zstd")
	if err != nil {
		t.Error(err)
		return nil
	}
	r, err := c.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Error(err)
		return nil
	}
	defer r.Close()
	var out bytes.Buffer
	w, err := c.NewWriter(&out, 11)
	if err == nil {
		_, err = io.Copy(w, r)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Error(err)
	}
	return out.Bytes()
}

// TestStrangersManifest: the object under the key of the next manifest is no manifest. That proves no other owner: it is a
// conflict, the object stays, and the chain continues once it is removed.
func TestStrangersManifest(t *testing.T) {
	s3, idc := shiptest.Memory(), shiptest.Memory()
	d := destinations{"s3": s3, "idc": shiptest.Faulty(idc, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && strings.HasSuffix(c.Key, "/000000000001.jsonl") {
			idc.Set(c.Key, []byte("another owner's"))
		}
		return shiptest.Fault{}
	})}
	b := newBench(t, d)
	b.segments(2, 10)
	b.ship(d)
	b.until("the conflict is told", func() bool { return b.s.Stats()["idc"].State == ship.StateConflict })
	b.segments(5, 10)
	b.until("the other goes on", func() bool { return b.s.Stats()["s3"].PendingSegments == 0 })
	b.audit(s3)
	key := object.ManifestKey("vpn", b.sp.Stats().Spool, 1, 1)
	if got := string(idc.Bytes(key)); got != "another owner's" {
		t.Errorf("it is now %q", got)
	}
	d["idc"].(*shiptest.FaultyDestination).SetPlan(nil)
	idc.Remove(key)
	b.flush()
	b.audit(idc)
}

// TestReceiptChecked: a receipt for other bytes than were sent is refused.
func TestReceiptChecked(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": liar{mem}}
	b := newBench(t, d)
	b.segments(1, 10)
	b.ship(d, quick)
	b.until("it is caught", func() bool { return errors.Is(b.s.Stats()["s3"].Err, ship.ErrVerify) })
	if st := b.s.Stats()["s3"]; st.Delivered.Records != 0 {
		t.Errorf("%+v", st)
	}
}

type liar struct{ *shiptest.MemoryDestination }

func (l liar) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	r, err := l.MemoryDestination.Put(ctx, o, body)
	r.Size--
	return r, err
}

// TestStagedFileDamaged: bytes that were damaged on this host's own disk are never published, and the staged file is made
// again.
func TestStagedFileDamaged(t *testing.T) {
	mem := shiptest.Memory()
	f := shiptest.Faulty(mem, nil)
	d := destinations{"s3": f}
	b := newBench(t, d)
	b.segments(1, 10)
	var once sync.Once
	f.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && isData(c) {
			once.Do(func() { rot(t, b.dir) })
		}
		return shiptest.Fault{}
	})
	b.ship(d, quick)
	b.until("it is delivered", func() bool { return b.s.Stats()["s3"].Pending.Records == 0 })
	if !strings.Contains(b.log.String(), "damaged on this host's disk") {
		t.Errorf("nothing is said of it: %s", b.log)
	}
	b.audit(mem)
}

// TestStagedFileBroughtBack: only the staged file of a segment was left, and it is damaged. It is restored from a destination
// that has the object, also if the object has the key with a hash there, and is delivered to the destination that lacks it.
func TestStagedFileBroughtBack(t *testing.T) {
	for _, renamed := range []bool{false, true} {
		has, lacks := shiptest.Memory(), shiptest.Memory()
		f := shiptest.Faulty(lacks, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
		d := destinations{"idc": has, "s3": f}
		b := newBench(t, d)
		b.segments(1, 10)
		b.ship(d, quick)
		b.until("one has it", func() bool { return b.s.Stats()["idc"].Pending.Records == 0 })
		b = b.onlyStaged(d)
		if renamed {
			line := lines(b.audit(has))[0]
			has.Set(object.WithHash(line.Key, line.RawSHA256), has.Bytes(line.Key))
			has.Set(line.Key, []byte("a copy's"))
		}
		f.SetPlan(nil)
		b.ship(d, quick)
		b.until("the other has it", func() bool { return b.s.Stats()["s3"].Pending.Records == 0 })
		if !renamed {
			b.audit(has)
		}
		b.audit(lacks)
		if l := b.sp.Ledger(); l.Damaged.Records != 0 || len(b.sp.Shelf().Damages()) != 0 {
			t.Errorf("damaged: %+v, %+v", l.Damaged, b.sp.Shelf().Damages())
		}
		b.close()
	}
}

// TestStagedFileLost: the staged file cannot be restored. The records are a gap at the destination that lacks them,
// everything after them is delivered, and the destination that has them is not delayed.
func TestStagedFileLost(t *testing.T) {
	has, lacks := shiptest.Memory(), shiptest.Memory()
	f := shiptest.Faulty(lacks, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
	d := destinations{"idc": has, "s3": f}
	b := newBench(t, d)
	b.segments(3, 10)
	b.ship(d, quick)
	b.until("one has it", func() bool { return b.s.Stats()["idc"].Pending.Records == 0 })
	b = b.onlyStaged(d)
	key := lines(b.audit(has))[0].Key
	body := has.Bytes(key)
	has.Remove(key)
	if err := b.sp.Shelf().Freeze("Verify asks for what is in the spool, and nothing is to leave it before"); err != nil {
		t.Fatal(err)
	}
	f.SetPlan(nil)
	b.ship(d, quick)
	b.until("the others are there", func() bool { return b.s.Stats()["s3"].Pending.Records == 0 })
	has.Set(key, body)
	x := b.sp.Shelf().Damages()
	if len(x) != 1 || x[0].Segment != 1 || x[0].Records != 10 || len(x[0].Files) == 0 {
		t.Fatalf("%+v", x)
	}
	if v, err := b.s.Verify(t.Context()); err != nil || v["idc"].Objects != 3 {
		t.Errorf("%+v %v", v, err)
	}
	b.audit(has)
}

// onlyStaged opens the spool again, with only a damaged staged file left of the first segment.
func (b *bench) onlyStaged(d destinations) *bench {
	b.t.Helper()
	b.close()
	if err := os.Remove(filepath.Join(b.dir, "seg", "0000000000000001.seg")); err != nil {
		b.t.Fatal(err)
	}
	path := filepath.Join(b.dir, "stage", "0000000000000001.obj")
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, flip(content), 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return openBench(b.t, b.dir, d, "host-a")
}

// rot flips a bit in the staged files of a spool.
func rot(t *testing.T, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "stage", "*.obj"))
	if err != nil || len(files) == 0 {
		t.Errorf("no staged file: %v", err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, flip(content), 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestPublish(t *testing.T) {
	s3, idc := shiptest.Memory(), shiptest.Memory()
	dead := errors.New("dead")
	d := destinations{"s3": s3, "idc": shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(dead) })}
	b := newBench(t, d)
	b.ship(d)
	err := b.s.Publish(t.Context(), "_report/x.json", "application/json", []byte("{}"))
	if !errors.Is(err, dead) || !strings.Contains(err.Error(), "idc") || strings.Contains(err.Error(), "s3") {
		t.Errorf("Publish: %v", err)
	}
	if string(s3.Bytes("_report/x.json")) != "{}" {
		t.Errorf("at s3: %q", s3.Keys())
	}
}
