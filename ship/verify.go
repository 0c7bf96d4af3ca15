package ship

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/penstock-go/penstock/internal/hist"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// Verification is what Verify found at one destination.
type Verification struct {
	Objects   int // asked about, and confirmed
	Manifests int // read back, and confirmed
	// Restored counts objects that were missing and have been stored again.
	Restored int
	// Mismatches name what is wrong and cannot be put right from here.
	Mismatches []Mismatch
	// Err is why the destination could not be asked about everything; nil if it could.
	Err error
}

// Mismatch is one object or manifest that a destination does not hold as its chain says.
type Mismatch struct {
	Key     string
	Segment uint64 // 0 for a manifest
	Err     error
}

// Verify asks every destination again about each segment that its chain covers and that is still in the spool (keep segments
// there with Shelf.Freeze), and reads back the chain's manifests of this epoch. Missing objects are stored again after
// everything has been asked: one that cannot be stored must not hide the others. Failed requests are retried until ctx ends;
// an object that is still missing then is a mismatch.
//
// Segments that only the chain of a former spool id contains (see the package documentation) are not asked about. Nor are
// those of a chain that this spool has left, if only manifests from before that chain's last two epochs name them.
//
// The error is nil if everything was confirmed. It wraps ErrVerify if something is wrong at a destination, ErrIncomplete if
// some could not be asked; the map, by name of destination, has the details.
func (s *Shipper) Verify(ctx context.Context) (map[string]Verification, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	lanes := s.all()
	results := make([]Verification, len(lanes))
	var wg sync.WaitGroup
	for i, l := range lanes {
		wg.Go(func() { results[i] = l.verify(ctx) })
	}
	wg.Wait()
	all := map[string]Verification{}
	var errs []error
	for i, l := range lanes {
		v := results[i]
		all[l.name] = v
		for _, m := range v.Mismatches {
			errs = append(errs, fmt.Errorf("%w: %s: %s: %w", ErrVerify, l.name, m.Key, m.Err))
		}
		if v.Err != nil {
			errs = append(errs, fmt.Errorf("%w: %s: %w", ErrIncomplete, l.name, v.Err))
		}
	}
	return all, errors.Join(errs...)
}

// verify asks as many questions at once as there are parallel uploads. It asks about what the chain covers at the call; later
// deliveries are verified as they happen.
func (l *lane) verify(ctx context.Context) Verification {
	v := &verifier{l: l, chain: l.cursor()}
	v.askAll(ctx, func(send func(int, question)) {
		for _, seg := range l.s.sp.Shelf().Sealed(0, 0) {
			if seg.Number <= v.chain.Segment && seg.First >= max(v.chain.Joined, 1) && seg.Records > 0 {
				send(weight(seg.Bytes), func(ctx context.Context) error { return v.checkSegment(ctx, seg) })
			}
		}
		for n := range v.chain.Next {
			send(1, func(ctx context.Context) error { return v.checkManifest(ctx, n) })
		}
	})
	v.askAll(ctx, func(send func(int, question)) { send(1, v.findLines) })
	v.askAll(ctx, func(send func(int, question)) {
		for _, d := range slices.Collect(maps.Values(v.differing)) { // checkDiffering deletes from v.differing
			send(weight(d.rec.Size), func(ctx context.Context) error { return v.checkDiffering(ctx, d.rec) })
		}
	})
	renamed := v.takeRenamed()
	v.askAll(ctx, func(send func(int, question)) {
		missing := maps.Clone(v.missing) // restore deletes from v.missing
		keys := slices.Sorted(maps.Keys(missing))
		for _, key := range keys { // oldest first
			rec := missing[key]
			send(weight(rec.Size), func(ctx context.Context) error { return v.restore(ctx, rec) })
		}
	})
	v.askAll(ctx, func(send func(int, question)) {
		for _, x := range append(v.otherLines(), renamed...) {
			send(weight(x.line.Bytes), func(ctx context.Context) error { return v.checkLine(ctx, x) })
		}
	})
	for number, d := range v.differing {
		v.noteMismatch(d.rec.Key, number, d.err)
	}
	for key, m := range v.missing {
		err := v.missed[key]
		if err == nil {
			err = errors.New("not stored again before the verification ended")
		}
		v.noteMismatch(key, m.Segment, fmt.Errorf("missing, and %w", err))
	}
	if v.Err == nil {
		v.checkLinks()
	}
	return v.Verification
}

// question asks a destination one thing. It returns an error if there is no answer.
type question func(context.Context) error

// askAll runs the questions that ask sends, as many at once as there are parallel uploads. The first one without an answer
// ends all.
func (v *verifier) askAll(ctx context.Context, ask func(send func(int, question))) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type task struct {
		weight int
		ask    question
	}
	todo, places := make(chan task), newPlaces(v.l.s.o.Workers)
	var wg sync.WaitGroup
	for range cap(places) {
		wg.Go(func() {
			for f := range todo {
				if err := f.ask(ctx); err != nil {
					v.mu.Lock()
					if v.Err == nil { // the questions that it ends have no answer either, and would hide the cause
						v.Err = err
					}
					v.mu.Unlock()
					cancel()
				}
				places.leave(f.weight)
			}
		})
	}
	ask(func(weight int, f question) {
		if !places.enter(ctx, weight) {
			return
		}
		select {
		case todo <- task{weight, f}:
		case <-ctx.Done():
		}
	})
	close(todo)
	wg.Wait()
	if v.Err == nil {
		v.Err = ctx.Err()
	}
}

type verifier struct {
	l     *lane
	chain spool.Chain

	mu sync.Mutex
	Verification
	manifests map[uint64]link
	missing   map[string]*spool.StageRecord // objects that are to be stored again, by key
	missed    map[string]error              // why the last attempt to do so failed
	differing map[uint64]differing          // segments whose objects are not what would be sent now, by number
	lines     map[uint64]*SegmentLine       // of segments that are here, by number: see otherLines
}

// link is the part of a manifest that checkLinks needs: a few dozen bytes, so that the chain of a year fits in memory, and
// the manifests can be read in any order.
type link struct {
	prev, hash [32]byte
	prevLast   uint64
	joined     uint64
	last       uint64
}

// noteConfirmed notes that the destination has what was sent under a key.
func (l *lane) noteConfirmed(key string) {
	l.confirmed.Add(1)
	l.hooks.noteVerified(key)
}

func (v *verifier) noteMismatch(key string, segment uint64, err error) {
	v.l.log.Error("ship: the destination no longer confirms this object or manifest: see err, and find out who changes or deletes objects there", "key", key, "err", err)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Mismatches = append(v.Mismatches, Mismatch{key, segment, err})
}

// retry calls op until it has an answer, or ctx ends: then it returns op's last error, which says more than ctx.Err. It is
// not lane.retry, since a failed question says nothing about the deliveries.
func (v *verifier) retry(ctx context.Context, op func() error) error {
	for attempt := 1; ; attempt++ {
		reset, began := v.l.reset.Next(), hist.Now()
		err := op()
		v.l.record.verifications.Since(began)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause := v.l.pause(attempt)
		if IsPermanent(err) {
			pause = v.l.s.o.ProbeInterval
		}
		if _, ended := wait.For(ctx, pause, reset); ended != nil {
			return err
		}
	}
}

// checkSegment asks about one object. The stage record says what it must be; receipts are not kept, and not needed.
func (v *verifier) checkSegment(ctx context.Context, seg spool.Segment) error {
	// doubt is the error of reading an object whose reported size or checksum is not what was sent. A store may permanently
	// refuse to return an object that no longer matches its checksum.
	var key string
	var doubt error
	err := v.retry(ctx, func() error {
		key, doubt = "", nil
		if v.hasRecorded(ctx, seg.Number) {
			return nil
		}
		defer v.l.s.sp.Shelf().Release(seg.Number) // other staged files need its room, and the next attempt may be much later
		rec, err := v.l.s.stageOrRepair(ctx, seg.Number)
		if err == nil && rec.Records == 0 || errors.Is(err, fs.ErrNotExist) && v.l.s.isDeleted(seg.Number) {
			return nil // there is no object, or the spool has deleted the segment meanwhile
		}
		if errors.Is(err, spool.ErrFull) && v.readsAsRecorded(ctx, seg.Number) {
			return nil
		}
		if err != nil {
			return err
		}
		o, err := stagedObject(rec)
		if err != nil {
			return err
		}
		r, err := v.l.dest.Stat(ctx, o.Key)
		if errors.Is(err, fs.ErrNotExist) {
			v.mu.Lock()
			defer v.mu.Unlock()
			if v.missing == nil {
				v.missing, v.missed = map[string]*spool.StageRecord{}, map[string]error{}
			}
			v.missing[o.Key] = rec
			return nil
		}
		if err == nil && o.Check(r) != nil {
			// It keeps no checksum, or holds another compression of the same output, or something else. Put tells these
			// apart, as after a lost response: it compares the bytes there in the way that costs this destination the
			// least, and overwrites nothing.
			if err = v.l.confirm(ctx, rec); r.Size != o.Size || r.Checksum != "" {
				key, doubt = o.Key, err
			}
		}
		if errors.Is(err, ErrVerify) || errors.Is(err, ErrConflict) {
			if err := v.l.proveGenuine(ctx); err != nil {
				return err
			}
			v.noteDiffering(rec, err)
			return nil
		}
		if err != nil {
			return err
		}
		v.noteObject(o.Key)
		return nil
	})
	if err != nil && doubt != nil {
		v.noteMismatch(key, seg.Number, fmt.Errorf("%w, and cannot be read: %w", ErrVerify, doubt))
	}
	return err
}

// hasRecorded reports whether the size and checksum that the destination reports are those of the stage record. That needs no
// staged file: a full spool that a drain has frozen hardly has room for one.
func (v *verifier) hasRecorded(ctx context.Context, number uint64) bool {
	rec, err := v.l.s.sp.Shelf().StageRecord(number)
	if err != nil || rec.Records == 0 {
		return false
	}
	o, err := stagedObject(rec)
	if err != nil {
		return false
	}
	if r, err := v.l.dest.Stat(ctx, o.Key); err != nil || o.Check(r) != nil {
		return false
	}
	v.noteObject(o.Key)
	return true
}

// noteObject counts an object that the destination has.
func (v *verifier) noteObject(key string) {
	v.l.noteConfirmed(key)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Objects++
}

// isDeleted reports whether the spool has deleted a segment. A segment whose files have vanished does not count as deleted:
// it must not pass as verified just because nobody knows any more what a destination must hold of it.
func (s *Shipper) isDeleted(number uint64) bool {
	seg := s.sp.Shelf().Sealed(number-1, 1)
	return len(seg) == 0 || seg[0].Number != number
}

// restore stores an object again.
func (v *verifier) restore(ctx context.Context, rec *spool.StageRecord) error {
	v.l.log.Warn("ship: a delivered object is missing at the destination; storing it again: find out who deletes there", "key", rec.Key)
	return v.retry(ctx, func() error {
		defer v.l.s.sp.Shelf().Release(rec.Segment)
		_, err := v.l.s.stageOrRepair(ctx, rec.Segment) // the staged file may have been given up for room
		if err == nil {
			err = v.l.confirm(ctx, rec)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case errors.Is(err, ErrConflict): // another writer has stored other bytes there meanwhile
			v.missed[rec.Key] = err
			return nil
		case err != nil:
			v.missed[rec.Key] = fmt.Errorf("not stored again: %w", err)
			return err
		}
		delete(v.missing, rec.Key)
		v.l.noteConfirmed(rec.Key)
		v.Objects++
		v.Restored++
		return nil
	})
}

// checkManifest reads one manifest. The spool knows only the hash of the last manifest, so all of them must be read to be
// checked.
func (v *verifier) checkManifest(ctx context.Context, number uint64) error {
	return v.retry(ctx, func() error {
		key := object.ManifestKey(v.l.s.class, v.chain.Spool, v.chain.Epoch, number)
		m, err := ReadManifest(ctx, v.l.dest, v.l.s.class, v.chain.Spool, v.chain.Epoch, number)
		if errors.Is(err, ErrVerify) || errors.Is(err, fs.ErrNotExist) {
			if err := v.l.proveGenuine(ctx); err != nil {
				return err
			}
			v.noteMismatch(key, 0, err)
			return nil
		}
		if err != nil {
			return err
		}
		k := link{hash: m.Hash, prevLast: m.Header.PrevLast, joined: m.Header.Joined, last: m.Footer.Last}
		if _, err := hex.Decode(k.prev[:], []byte(m.Header.Prev)); err != nil {
			return err
		}
		v.l.noteConfirmed(key)
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.manifests == nil {
			v.manifests = map[uint64]link{}
		}
		v.manifests[number] = k
		v.noteLines(m)
		return nil
	})
}

// checkLinks checks, from the newest to the oldest, that the manifests follow each other up to the one that the spool
// remembers: each hash is in its successor's header. As in follows, a manifest may end before its successor begins if the destination
// joined there: it was given up for a time, and is not owed the records between.
func (v *verifier) checkLinks() {
	want := v.chain.Hash
	last, joined := v.chain.Through, v.chain.Joined
	for n := v.chain.Next; n > 0; n-- {
		m, ok := v.manifests[n-1]
		if v.chain.Left && n == v.chain.Next {
			last = m.last // the chain was left within the next manifest, so Through may be beyond this one
		}
		if ok && (m.hash != want || m.last != last && (m.last > last || last+1 != joined)) {
			why := errors.New("not the manifest that this spool wrote")
			if m.hash == want { // the state of the chain was lost or restored, and counted records as delivered that are not in this chain
				why = fmt.Errorf("it ends with record %d, and this spool took the chain to contain the records up to %d: an audit shows whether another chain has them", m.last, last)
			}
			v.noteMismatch(object.ManifestKey(v.l.s.class, v.chain.Spool, v.chain.Epoch, n-1), 0, why)
			ok = false
		}
		if !ok {
			return // earlier manifests cannot be judged without it
		}
		v.Manifests++
		want, last, joined = m.prev, m.prevLast, m.joined
	}
}
