package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// seal is Spool.Seal.
func (j *journal) seal(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	if err := j.endActive(0, true); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.rolled) == 0 {
		return nil
	}
	// Do not wait for segments that are rolled from now on.
	last := j.rolled[len(j.rolled)-1].number
	for len(j.rolled) > 0 && j.rolled[0].number <= last {
		if j.closed {
			return ErrClosed
		}
		if err := j.park(ctx, &j.sealing, noMark); err != nil {
			return err
		}
	}
	return nil
}

// endActive writes all accepted records and rolls the active segment, if it still has the given number (0: any).
// With ledger set, it also writes a changed ledger before that, and begins a segment for it if there is none.
func (j *journal) endActive(number uint64, ledger bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acquire(&j.writer)
	defer j.release(&j.writer)
	if j.closed { // perhaps while this call waited: then another process may already have the files
		return ErrClosed
	}
	j.mu.Unlock()
	err := j.writeTail(ledger)
	if err != nil {
		err = j.writeTail(ledger)
	}
	// An active segment was begun for a block, but the write of that block may have failed.
	if a := j.active; err == nil && a != nil && a.off > int64(a.header.Len) && (number == 0 || a.number == number) {
		if err = j.roll(); err != nil {
			// The file has failed: write its unsynced records to another segment, and roll that instead.
			if err = j.writeTail(ledger); err == nil && j.active != nil {
				err = j.roll()
			}
		}
	}
	j.mu.Lock()
	if err != nil {
		j.fail(err)
		return j.failed
	}
	return nil
}

// sealRolled writes the footers of the ended segments, in order, and returns when to try again after a failure. The order
// matters to shippers: if a later segment could be sent before an earlier one, the chain of manifests would have a gap until the
// earlier one is sealed.
func (j *journal) sealRolled() time.Duration {
	for {
		j.mu.Lock()
		if len(j.rolled) == 0 {
			j.mu.Unlock()
			return never
		}
		r := j.nextToSeal()
		j.mu.Unlock()
		if r == nil {
			return retryEvery
		}

		j.noteDurable(r.number, r.end, place{r.next - 1, r.ledger.Kept.Bytes}, true)
		seg, err := j.sealOne(r)
		if vfs.IsNoSpace(err) && j.space.makeRoom() {
			continue
		}
		if err != nil {
			j.logAgain(slog.LevelError, "spool: cannot seal a segment; trying again each second; its records are kept and not delivered until then: see what the disk or the file system reports", "segment", r.number, "err", err)
			return retryEvery
		}
		j.mu.Lock()
		j.rolled = slices.DeleteFunc(j.rolled, func(x *rolled) bool { return x == r })
		j.space.add(-j.opts.SegmentBytes)
		j.countDamaged(r)
		if seg != nil {
			j.sealedEnd = place{r.next - 1, r.ledger.Kept.Bytes}
			j.space.add(seg.Size)
			c := *seg // a copy, because the catalogue changes its own when the segment is staged
			j.shelf.put(&c)
		}
		j.moreRoom()
		j.sealing.wakeAll()
		j.mu.Unlock()
		if seg != nil {
			j.shelf.remember(seg)
			j.hooks.noteSealed(seg.Segment)
		}
	}
}

// countDamaged counts the records that could no longer be read from a segment's file when it was copied. j.mu is held.
func (j *journal) countDamaged(r *rolled) {
	if len(rangesOf(r.damage)) == 0 {
		return
	}
	// The next Open computes how many bytes they had, from the bytes of all other records: see recovery.balance.
	j.ledger.Damaged.Records += r.copied.Last + 1 - r.copied.First - r.copied.Records
	j.noteLedger()
}

// nextToSeal returns the first rolled segment; nil if its file has failed, and no other file has yet all that was written to it. Empty
// segments come first, out of order: while the first segment cannot be sealed, a failing disk leaves two of them each second. j.mu is
// held.
func (j *journal) nextToSeal() *rolled {
	for i, r := range j.rolled {
		if r.empty() && j.replaced(i) {
			return r
		}
	}
	if !j.replaced(0) {
		return nil
	}
	return j.rolled[0]
}

// sealOne seals a segment; nil if it was empty and was removed.
func (j *journal) sealOne(r *rolled) (*sealed, error) {
	if r.broken {
		return j.sealCopy(r)
	}
	size, synced, err := writeFooter(r.file, r.builder, r.end, &r.ledger)
	if err != nil {
		// The blocks were synced before. A failed write of the footer can be retried, a failed sync cannot.
		r.broken = synced
		return nil, err
	}
	_ = r.file.Close()
	return describe(r.header, r.builder, &r.ledger, nil, size), nil
}

// writeFooter completes a segment whose blocks, which end at end, are on stable storage. The truncation also cuts off
// zeros, and old contents of a recycled file, so that the sealed file contains only this segment.
//
// synced reports whether writeFooter has called Sync.
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

// sealCopy replaces a segment whose file has failed by a copy of the synced blocks in it. A retry does not repeat completed steps: after
// the copy was made, the file under the segment's name is the copy.
func (j *journal) sealCopy(r *rolled) (*sealed, error) {
	if r.empty() {
		_ = r.file.Close()
		if err := j.fs.Remove(j.segPath(r.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, j.fs.SyncDir(j.path(segDir))
	}
	if r.copied == nil {
		if err := j.copyRolled(r); err != nil {
			return nil, err
		}
	}
	lost := rangesOf(r.damage)
	if len(lost) > 0 { // first, so that the damaged file is never in neither of the two directories
		if err := j.fs.SyncDir(j.path(damagedDir)); err != nil {
			return nil, err
		}
	}
	if err := j.fs.SyncDir(j.path(segDir)); err != nil {
		return nil, err
	}
	if len(lost) > 0 {
		if err := j.damages.note(r.number, lost, 0, "the disk no longer returned it when its file had failed"); err != nil {
			return nil, err
		}
	}
	_ = r.file.Close()
	return r.copied, nil
}

// copyRolled makes the copy and gives it the segment's name. Reading the failed file is safe: a later failure does not undo a successful
// sync, and every block is checked.
func (j *journal) copyRolled(r *rolled) error {
	path := j.segPath(r.number)
	temp := path + vfs.TempSuffix
	if err := j.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := j.fs.Create(temp)
	if err != nil {
		return err
	}
	res, size, err := j.fillCopy(f, r)
	_ = f.Close()
	if err == nil {
		err = j.replace(path, temp, len(rangesOf(res.Damage)) > 0)
	}
	if err != nil {
		_ = j.fs.Remove(temp)
		return err
	}
	j.logDamage(r.number, res.Damage)
	r.copied, r.damage = describe(r.header, res.Builder, &r.ledger, res.Damage, size), res.Damage
	return nil
}

// fillCopy writes, syncs and seals the copy of a segment.
func (j *journal) fillCopy(f vfs.File, r *rolled) (res *segment.ScanResult, size int64, err error) {
	from := &watchedReader{r: r.file}
	if err = copyFile(f, from, r.end, j.reads.writeOff(r.number)); err != nil {
		if from.failed.Load() {
			j.reads.note(r.number)
		}
		return nil, 0, err
	}
	j.reads.done(r.number)
	res, err = segment.Scan(f, r.end, &segment.ReadOptions{
		End: r.end, Durable: r.end, Next: r.next, Segment: r.number, Header: r.header,
	})
	if err != nil {
		return nil, 0, err
	}
	size, err = finish(f, res, r.next, &r.ledger)
	return res, size, err
}

// replace renames the finished copy at temp to path. A damaged file at path is first moved to damaged/, since other tools may be able to
// read more of it. If the process dies between the two renames, finishReplaced makes the second one.
func (s *site) replace(path, temp string, damaged bool) error {
	if !damaged {
		return s.fs.Rename(temp, path)
	}
	aside := s.asidePath(filepath.Base(path))
	if err := s.fs.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) { // an earlier attempt may have moved it
		return err
	}
	err := s.fs.Rename(temp, path)
	if err != nil {
		_ = s.fs.Rename(aside, path) // recovery can use its valid blocks
	}
	return err
}

// finishReplaced gives the finished copy of a segment its name if the process that made the copy died between the two renames of
// replace. An unfinished copy is removed like every temporary file: the file that it was made from still has its name.
func (s *site) finishReplaced() error {
	entries, err := s.fs.ReadDir(s.path(segDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, ok := parseName(e.Name(), segExt+vfs.TempSuffix)
		if !ok {
			continue
		}
		if _, err := s.fs.Stat(s.segPath(n)); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			continue
		}
		temp := s.path(segDir, e.Name())
		if ok, err := s.isSealed(temp, n); err != nil {
			return err
		} else if !ok {
			continue
		}
		if err := s.fs.Rename(temp, s.segPath(n)); err != nil {
			return err
		}
	}
	return nil
}

// isSealed reports whether a file is a segment of the given number that has its footer.
func (s *site) isSealed(path string, n uint64) (bool, error) {
	f, err := s.fs.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	src, err := s.newReader(f, size, segment.ReadOptions{Segment: n})
	if errors.Is(err, segment.ErrCorrupt) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, ok := src.Footer()
	return ok, nil
}

// finish syncs and seals a scanned segment that ends before the sequence number next. If records are missing at its end, it adds
// a ledger block with the number that comes next. To readers the missing records then look like damage in the
// middle of a segment, whose range the block after it shows.
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

// copyFile copies the first n bytes. If the file has fewer, zeros follow. With skip, zeros also replace the parts that cannot be read.
func copyFile(dst io.WriterAt, src io.ReaderAt, n int64, skip bool) error {
	buf := make([]byte, 1<<20)
	step := int64(len(buf))
	for off := int64(0); off < n; {
		b := buf[:min(step, n-off)]
		if k, err := src.ReadAt(b, off); k < len(b) {
			switch {
			case errors.Is(err, io.EOF): // somebody has shortened the file, and trying again does not bring the rest back
				clear(b[k:])
			case !skip:
				return fmt.Errorf("spool: copy segment: %w", err)
			case step > headerPad:
				step = headerPad // from here on page by page
				continue
			default:
				clear(b)
			}
		}
		if _, err := dst.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// describe returns the catalogue's entry of a segment that was just sealed.
func describe(h *segment.Header, b *segment.Builder, l *segment.Ledger, damage []*segment.DamageError, size int64) *sealed {
	f := b.Footer()
	f.Ledger = *l
	return entry(h, &f, damage, size)
}

// entry returns the catalogue's entry of a segment from its header and footer, which contain the ledgers before and after it.
func entry(h *segment.Header, f *segment.Footer, damage []*segment.DamageError, size int64) *sealed {
	seg := &sealed{Segment: Segment{
		Number: h.Segment, Epoch: h.Epoch, First: f.First, Last: f.Next - 1, Records: f.Records, Bytes: f.Bytes,
		Created: h.Created, Size: size,
	}}
	seg.account(&h.Ledger, &f.Ledger)
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

// account stores what the ledger after the segment adds to the one before it: this segment's manifest line reports these losses and
// changes.
func (s *Segment) account(before, after *segment.Ledger) {
	s.Lost, s.Unaccounted = after.Lost.Sub(before.Lost), after.UnaccountedSince(before)
	s.Filtered, s.Made = after.Filtered.Sub(before.Filtered), after.Made.Sub(before.Made)
}

// remember puts descriptions of segments into the index. A lost index only makes the next Open slower, so a failure here is not
// returned.
func (s *Shelf) remember(segs ...*sealed) {
	puts := make([]index.Entry, 0, len(segs))
	for _, seg := range segs {
		js, err := json.Marshal(seg)
		if err != nil {
			s.log.Error("spool: cannot encode an index entry; the next start reads the segment itself: please report this as a bug", "class", s.opts.Class, "segment", seg.Number, "err", err)
			return
		}
		puts = append(puts, index.Entry{Key: segKey(seg.Number), Value: js})
	}
	s.apply(puts, nil)
}

// apply changes the index.
func (s *Shelf) apply(puts []index.Entry, deletes []string) {
	if err := s.idx.Apply(puts, deletes); err != nil && !errors.Is(err, index.ErrLost) {
		s.logAgain(slog.LevelWarn, "spool: index not updated; the next start reads the segments themselves, which takes longer, and nothing is lost", "err", err)
	}
}

func segKey(n uint64) string { return "s" + numberName(n) }
