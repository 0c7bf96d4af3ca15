package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// Seal writes and syncs everything taken so far and seals the active segment, if it holds records or ledger changes. It
// returns once the segment is in Sealed.
func (s *Spool) Seal(ctx context.Context) error {
	if err := s.endActive(0, true); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rolled) == 0 {
		return nil
	}
	// What others roll from now on is not waited for.
	last := s.rolled[len(s.rolled)-1].number
	for len(s.rolled) > 0 && s.rolled[0].number <= last {
		if s.closed {
			return ErrClosed
		}
		if err := s.park(ctx, &s.sealing, noMark); err != nil {
			return err
		}
	}
	return nil
}

// endActive writes everything taken so far and rolls the active segment, if it still has the given number (0: any).
// With ledger, a change of the ledger is written into it before, and is reason enough to begin one.
func (s *Spool) endActive(number uint64, ledger bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acquire(&s.writer)
	defer s.release(&s.writer)
	if s.closed { // perhaps while it waited: then the files may be somebody else's already
		return ErrClosed
	}
	s.mu.Unlock()
	err := s.writeTail(ledger)
	if err != nil {
		err = s.writeTail(ledger)
	}
	// An active segment always has a block: it was begun for one. But its write may have failed.
	if a := s.active; err == nil && a != nil && a.off > int64(a.header.Len) && (number == 0 || a.number == number) {
		if err = s.roll(); err != nil {
			// The file has failed: what it lacks goes to another segment, which is rolled instead.
			if err = s.writeTail(ledger); err == nil && s.active != nil {
				err = s.roll()
			}
		}
	}
	s.mu.Lock()
	if err != nil {
		s.fail(err)
		return s.failed
	}
	return nil
}

// sealRolled gives the ended segments their footers, in order, and returns when to try again after a failure. Their order
// matters to those who send them: a later segment that could be sent while an earlier one could not would leave a gap in
// the chain of manifests for as long as that takes.
func (s *Spool) sealRolled() time.Duration {
	for {
		s.mu.Lock()
		if len(s.rolled) == 0 {
			s.mu.Unlock()
			return never
		}
		r := s.nextToSeal()
		s.mu.Unlock()
		if r == nil {
			return retryEvery
		}

		s.noteDurable(r.number, r.end, place{r.next - 1, r.ledger.Kept.Bytes}, true)
		seg, err := s.sealOne(r)
		if vfs.IsNoSpace(err) && s.makeRoom() {
			continue
		}
		if err != nil {
			s.log.Error("spool: cannot seal a segment, trying again", "class", s.opts.Class, "segment", r.number, "err", err)
			return retryEvery
		}
		s.mu.Lock()
		s.rolled = slices.DeleteFunc(s.rolled, func(x *rolled) bool { return x == r })
		s.quota.add(-s.opts.SegmentBytes)
		if seg != nil {
			s.sealedEnd = place{r.next - 1, r.ledger.Kept.Bytes}
			s.quota.add(seg.Size)
			c := *seg // the catalogue's changes when it is staged
			s.cat.put(&c)
		}
		s.moreRoom()
		s.sealing.wakeAll()
		s.mu.Unlock()
		if seg != nil {
			s.remember(seg)
		}
	}
}

// nextToSeal returns the first rolled segment; nil if its file has failed, and nothing else has what was written to it. What
// holds nothing need not wait its turn: while the first one cannot be sealed, a failing disk makes two a second. s.mu is held.
func (s *Spool) nextToSeal() *rolled {
	for i, r := range s.rolled {
		if r.empty() && s.replaced(i) {
			return r
		}
	}
	if !s.replaced(0) {
		return nil
	}
	return s.rolled[0]
}

// sealOne seals a segment; nil if nothing in it counts, and it was removed.
func (s *Spool) sealOne(r *rolled) (*sealed, error) {
	if r.broken {
		return s.sealCopy(r)
	}
	size, synced, err := writeFooter(r.file, r.builder, r.end, &r.ledger)
	if err != nil {
		// The data was synced before. A footer that was not written can be tried again, a sync that failed never.
		r.broken = synced
		return nil, err
	}
	_ = r.file.Close()
	return describe(r.header, r.builder, &r.ledger, nil, size), nil
}

// writeFooter completes a segment whose blocks, which end at end, are on stable storage. The truncation also cuts the
// zeros, and what a recycled file has of its former life, so that the sealed file is exactly what is described.
//
// synced reports whether it came to the sync.
func writeFooter(f vfs.File, b *segment.Builder, end int64, l *segment.Ledger) (size int64, synced bool, err error) {
	footer, err := b.Seal(end, l)
	if err != nil {
		return 0, false, err
	}
	if _, err := f.WriteAt(footer, end); err != nil {
		return 0, false, err
	}
	size = end + int64(len(footer))
	if err := f.Truncate(size); err != nil {
		return 0, false, err
	}
	return size, true, f.Sync()
}

// sealCopy replaces a segment whose file has failed by a copy of what had been synced in it. Reading the old file is
// sound: what a good sync has put on the disk, a later failure does not take away; and every block is checked.
func (s *Spool) sealCopy(r *rolled) (*sealed, error) {
	path := s.segPath(r.number)
	if r.empty() {
		_ = r.file.Close()
		if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, s.fs.SyncDir(s.path(segDir))
	}
	temp := path + vfs.TempSuffix
	if err := s.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := s.fs.Create(temp)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = s.fs.Remove(temp)
		}
	}()
	from := &watchedReader{r: r.file}
	if err = copyFile(f, from, r.end, s.reads.writeOff(r.number)); err != nil {
		if from.failed.Load() {
			s.reads.note(r.number)
		}
		return nil, err
	}
	s.reads.done(r.number)
	res, err := segment.Scan(f, r.end, segment.ReadOptions{
		End: r.end, Durable: r.end, Next: r.next, Segment: r.number, Header: r.header,
	})
	if err != nil {
		return nil, err
	}
	size, err := finish(f, res, r.next, &r.ledger)
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	seg := describe(r.header, res.Builder, &r.ledger, res.Damage, size)
	if err = s.noteDamage(seg, res.Damage); err != nil {
		return nil, err
	}
	if err = s.fs.Rename(temp, path); err == nil {
		err = s.fs.SyncDir(s.path(segDir))
	}
	if err != nil {
		return nil, err
	}
	_ = r.file.Close()
	return seg, nil
}

// finish syncs and seals a scanned segment that ends before the sequence number next. What is missing at its end is put
// on record by a ledger block that says which number comes next: to readers it looks like any other damage, in the
// middle of a segment, whose range the block behind it tells.
func finish(f vfs.File, res *segment.ScanResult, next uint64, l *segment.Ledger) (size int64, err error) {
	end := res.End
	if res.Builder.Footer().Next < next {
		js, err := json.Marshal(l)
		if err != nil {
			return 0, err
		}
		b := append(make([]byte, segment.BlockHeaderSize, segment.BlockHeaderSize+len(js)+16), js...)
		segment.Stamp(b, segment.BlockHeader{
			Generation: res.Header.Generation, Offset: end, First: next, Durable: uint32(end), Type: segment.LedgerBlock,
		})
		res.Builder.Add(end, b)
		b = b[:segment.Align(len(b))]
		if _, err := f.WriteAt(b, end); err != nil {
			return 0, err
		}
		end += int64(len(b))
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	size, _, err = writeFooter(f, res.Builder, end, l)
	return size, err
}

// copyFile copies the first n bytes. With skip, zeros take the place of what cannot be read.
func copyFile(dst io.WriterAt, src io.ReaderAt, n int64, skip bool) error {
	buf := make([]byte, 1<<20)
	step := int64(len(buf))
	for off := int64(0); off < n; {
		b := buf[:min(step, n-off)]
		if k, err := src.ReadAt(b, off); k < len(b) {
			switch {
			case !skip:
				return fmt.Errorf("spool: copy segment: %w", err)
			case step > headerPad:
				step = headerPad // from here on page by page
				continue
			}
			clear(b)
		}
		if _, err := dst.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// describe makes the catalogue's entry of a segment that was just sealed.
func describe(h *segment.Header, b *segment.Builder, l *segment.Ledger, damage []*segment.DamageError, size int64) *sealed {
	f := b.Footer()
	f.Ledger = *l
	return entry(h, &f, damage, size)
}

// entry makes the catalogue's entry of a segment from its header and footer. Header and footer have the ledger before and
// after it; what was lost in between is this segment's to report.
func entry(h *segment.Header, f *segment.Footer, damage []*segment.DamageError, size int64) *sealed {
	seg := &sealed{Segment: Segment{
		Number: h.Segment, Epoch: h.Epoch, First: f.First, Last: f.Next - 1, Records: f.Records, Bytes: f.Bytes,
		Created: h.Created, Lost: f.Ledger.Lost.Sub(h.Ledger.Lost), Unaccounted: f.Ledger.UnaccountedSince(&h.Ledger), Size: size,
	}}
	if f.Records > 0 {
		seg.MinTime, seg.MaxTime = time.Unix(0, f.Earliest).UTC(), time.Unix(0, f.Latest).UTC()
	}
	for _, d := range damage {
		if r, ok := d.Range(); ok {
			seg.Gaps = append(seg.Gaps, r)
		}
	}
	return seg
}

// remember puts what is known of segments into the index. A lost index costs the next Open time, nothing else, so that a
// failure here stops nothing.
func (s *Spool) remember(segs ...*sealed) {
	puts := make([]index.Entry, 0, len(segs))
	for _, seg := range segs {
		js, err := json.Marshal(seg)
		if err != nil {
			s.log.Error("spool: cannot encode an index entry", "class", s.opts.Class, "segment", seg.Number, "err", err)
			return
		}
		puts = append(puts, index.Entry{Key: segKey(seg.Number), Value: js})
	}
	s.apply(puts, nil)
}

// apply changes the index.
func (s *Spool) apply(puts []index.Entry, deletes []string) {
	if err := s.idx.Apply(puts, deletes); err != nil && !errors.Is(err, index.ErrLost) {
		s.log.Warn("spool: index not updated", "class", s.opts.Class, "err", err)
	}
}

func segKey(n uint64) string { return "s" + numberName(n) }

// noteDamage counts what the file of a segment no longer gave when it was copied, and keeps that file: the disk may return
// more of it to other tools.
func (s *Spool) noteDamage(seg *sealed, damage []*segment.DamageError) error {
	lost := rangesOf(damage)
	if len(damage) == 0 {
		return nil
	}
	s.logDamage(seg.Number, damage)
	if len(lost) == 0 {
		return nil
	}
	name, err := s.setAside(segDir, numberName(seg.Number)+segExt)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // or it was, in an attempt before this one
		return err
	}
	if err := s.noteDamaged(seg.Number, lost, 0, "the disk no longer returned it when its file had failed", name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// How many bytes they had is found by the balance at the next Open, from what all other records have.
	s.ledger.Damaged.Records += seg.Last + 1 - seg.First - seg.Records
	s.noteLedger()
	return nil
}
