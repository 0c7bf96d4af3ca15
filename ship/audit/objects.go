package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// expect notes an object that a chain names, and asks for it if a request tells more than the listing will.
func (w *walk) expect(ctx context.Context, b *batch, k *object.Key, s *ship.SegmentLine) {
	a, p := w.a, w.p
	if !a.o.Hour.IsZero() && k.Hour != object.HourOf(a.o.Hour) {
		return
	}
	said, line := hashLine(s)
	e := expected{size: s.Receipt.Size, said: said}
	a.o.Progress.ObjectsOf.Add(1)
	if s.MaxTime.Before(a.o.Since) {
		e.flags |= optional
	}
	// A receipt for other bytes than were staged is rare, and what a forger would write, so the content decides.
	recompressed := !staged(s)
	// Objects that an earlier audit has found right are only listed.
	if e.flags&optional == 0 && !w.isKnown(b.at) && !p.kept.isRight(s.Key, line) && (a.o.Deep || recompressed || keepsSum(s) || p.sums.Load() >= 0) {
		e.flags |= asked
		w.ask(ctx, b, *s, line, a.o.Deep || recompressed)
	}
	a.noteNamed(p, k, &e)
}

// noteNamed notes that a chain names an object, so that compareListing does not report it as unknown. The caller has set size,
// said and flags of e.
func (a *auditor) noteNamed(p *place, k *object.Key, e *expected) {
	e.first, e.last, e.epoch, e.hour = k.First, k.Last, k.Epoch, k.Hour
	n, ok := slices.BinarySearchFunc(a.spools, k.Origin, object.Origin.Compare)
	if !ok { // its spool has no chain anywhere: compareListing reports the object
		return
	}
	e.spool = uint32(n)
	a.mu.Lock()
	i := slices.Index(a.exts, k.Ext)
	if i < 0 && len(a.exts) < math.MaxUint16 {
		i = len(a.exts)
		a.exts = append(a.exts, k.Ext)
	}
	a.mu.Unlock()
	if i < 0 {
		a.rec.add(Finding{Code: LineWrong, Place: p.name, Class: k.Class, Spool: k.Spool, First: k.First, Last: k.Last, Key: k.String(), Detail: "more endings of names than there can be"})
		return
	}
	e.ext = uint16(i)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, *e)
}

// staged reports whether the receipt describes the bytes that were staged.
func staged(s *ship.SegmentLine) bool {
	return s.Receipt.Size == s.Size && (s.Receipt.Checksum == "sha256:"+s.SHA256 || s.Receipt.Checksum == "crc64nvme:"+s.CRC64NVME)
}

// keepsSum reports whether, according to the receipt, the place kept a checksum of its own for the object.
func keepsSum(s *ship.SegmentLine) bool { return s.Receipt.Method == "head" }

// ask examines one object in the background, once a slot is free. line is the hash of its line.
func (w *walk) ask(ctx context.Context, b *batch, s ship.SegmentLine, line uint64, read bool) {
	a, p := w.a, w.p
	a.check(w.update(b, func(b *batch) { b.open++ })) // first, so that no mark passes an object that is never examined
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	a.jobs.Go(func() {
		defer func() { <-p.slots }()
		err := p.kept.examinedFor(s.Key, line, func() error {
			return p.againOf(ctx, s.Key, func(ctx context.Context) error {
				if read {
					return p.read(ctx, &s)
				}
				return p.stat(ctx, &s)
			})
		})
		a.o.Progress.Objects.Add(1)
		a.check(w.update(b, func(b *batch) { b.open, b.bad = b.open-1, b.bad || err != nil }))
		f := Finding{Place: p.name, Class: w.id.Class, Spool: w.id.Spool, First: s.First, Last: s.Last, Key: s.Key}
		k, _ := object.ParseKey(s.Key)
		f.Epoch = k.Epoch
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.Code, f.Detail = ObjectMissing, "it is not there"
			a.rec.add(f)
		case errors.Is(err, ship.ErrVerify):
			f.Code, f.Detail = ObjectAltered, err.Error()
			a.rec.add(f)
		case errors.Is(err, errNotUnderstood):
			f.Code, f.Detail = NotUnderstood, err.Error()
			a.rec.add(f)
		case errors.Is(err, errUnread):
			a.reportUnread(f, "", err)
		default:
			a.check(err)
		}
	})
}

// stat compares what a place says of an object with its line.
func (p *place) stat(ctx context.Context, s *ship.SegmentLine) error {
	r, err := p.dest.Stat(ctx, s.Key)
	if err != nil {
		return err
	}
	if r.Checksum == "" {
		// The place will not have a checksum of other objects either. The listing has their sizes.
		p.sums.CompareAndSwap(0, -1)
		if keepsSum(s) {
			return p.read(ctx, s) // its checksum was lost, or it was put there by other means
		}
		if r.Size != s.Size {
			return fmt.Errorf("%w: %d bytes are there; its line says %d", ship.ErrVerify, r.Size, s.Size)
		}
		return nil
	}
	p.sums.CompareAndSwap(0, 1)
	o, err := lineObject(s)
	if err != nil {
		return err
	}
	return o.Check(r)
}

// lineObject describes the object of a line.
func lineObject(s *ship.SegmentLine) (o ship.Object, err error) {
	o = ship.Object{Key: s.Key, Size: s.Size}
	if _, err = hex.Decode(o.SHA256[:], []byte(s.SHA256)); err == nil {
		o.CRC64NVME, err = strconv.ParseUint(s.CRC64NVME, 16, 64)
	}
	if err != nil {
		return o, fmt.Errorf("%w: its line: %w", ship.ErrVerify, err)
	}
	return o, nil
}

// contentKey returns the key that an object gets if a copy of the volume has taken its own key.
func contentKey(s *ship.SegmentLine) (key string, ok bool) {
	k, ok := object.ParseKey(s.Key)
	if !ok || len(s.RawSHA256) < 16 || k.HasHash() {
		return s.Key, false
	}
	return object.WithHash(s.Key, s.RawSHA256), true
}
