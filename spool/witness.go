package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// begun is a note about the newest segment, outside of its file. It says that the segment was begun and how far it is durable. Without
// it, a segment file that is deleted, truncated or zeroed after a kill would look as if nothing had ever been written to it.
type begun struct {
	Version int    `json:"version"` // 1
	Turn    uint64 `json:"turn"`    // grows with each write; it is even in the first of the two pages, odd in the second
	Spool   string `json:"spool"`

	// Segment and the other fields of its header, so that its blocks can be read without the header.
	Segment    uint64    `json:"segment"`
	Generation uint64    `json:"generation"`
	First      uint64    `json:"first"`
	Epoch      uint32    `json:"epoch"`
	Created    time.Time `json:"created"`
	Instance   string    `json:"instance"`
	// Size is the length of the file until the segment is sealed.
	Size int64 `json:"size"`

	// End is an offset in the file below which everything is durable, Next the sequence number that follows the last
	// record there, and Bytes the payload of all records before Next. All three are lower bounds.
	End   int64  `json:"end"`
	Next  uint64 `json:"next"`
	Bytes uint64 `json:"bytes"`
	// Ended: nothing was written after End.
	Ended bool `json:"ended,omitempty"`
}

// header returns the segment's header, without the ledger.
func (b *begun) header(class string) *segment.Header {
	return &segment.Header{
		Len: headerPad, Generation: b.Generation, Segment: b.Segment, First: b.First, Created: b.Created,
		Spool: b.Spool, Epoch: b.Epoch, Class: class, Instance: b.Instance,
	}
}

// witnessPage is the length of a page: about as much as a disk writes atomically.
const witnessPage = headerPad

// witness writes the file of begun. It has two pages, which are written in place. A page with a durable note is not changed
// until the other page holds a newer note durably. So a power cut during a write always leaves one note, and
// no write needs room on a full disk.
//
// The invariant: before a record in a segment counts as durable, a note that the segment was begun is durable. A note never claims
// more than the segments contain.
//
// Goroutines that make records durable wait only for those syncs of this file that the invariant requires: during a sync flushing is
// held, and mu is not.
type witness struct {
	flushing sync.Mutex  // acquired before mu
	owed     atomic.Bool // the note that last's segment was begun is not durable yet

	mu    sync.Mutex
	f     vfs.File // nil if there is none: then the spool works without notes
	last  begun
	page  notePage  // of last's segment
	dirty bool      // a sync would make last durable
	safe  bool      // last is durable
	at    time.Time // of the last write
	tries uint64    // attempts to write a page

	syncing bool        // the file is being synced: meanwhile only the note of a new segment is written
	refused begun       // the note of a new segment that could not be written; none if its Segment is 0
	later   *time.Timer // writes held; nil until the first time
	held    progress    // the progress for which touch was too early; none if its number is 0
}

// progress is how far a segment is durable.
type progress struct {
	number uint64
	end    int64
	at     place
}

// loadBegun reads the newer of the two pages; nil if there is none of this spool, "" for any.
func loadBegun(f vfs.FS, path, spool string) (*begun, error) {
	data, err := vfs.ReadFile(f, path, 2*witnessPage)
	if err != nil {
		return nil, err
	}
	var newest *begun
	for len(data) > 0 {
		page := data[:min(len(data), witnessPage)]
		data = data[len(page):]
		b := new(begun)
		if statefile.Open(bytes.TrimRight(page, "\x00"), b) != nil {
			continue
		}
		if b.Version > 1 {
			return nil, statefile.ErrNewer
		}
		if (spool == "" || b.Spool == spool) && b.Segment > 0 && b.Next >= b.First && b.First > 0 && (newest == nil || b.Turn > newest.Turn) {
			newest = b
		}
	}
	return newest, nil
}

// open opens the file, or creates it, and continues with its last note.
func (w *witness) open(fsys vfs.FS, dir, path string, last *begun) error {
	f, err := fsys.OpenRW(path)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = fsys.Create(path); err == nil {
			if _, err = f.WriteAt(make([]byte, 2*witnessPage), 0); err == nil {
				err = f.Sync()
			}
			if err == nil {
				err = fsys.SyncDir(dir)
			}
			if err != nil {
				_ = f.Close()
				_ = fsys.Remove(path)
			}
		}
	}
	if err != nil {
		return err
	}
	w.f = f
	if last != nil {
		w.last, w.page.fixed = *last, nil
		w.safe = w.settle() == nil
	}
	return nil
}

// settle makes the last note durable: a process that was killed, or whose sync failed, may have left it in the page cache only. It
// writes the same bytes again, so a power cut meanwhile does no harm if they were durable. If the disk refuses, the next flush writes
// the note again, and returns the error.
func (w *witness) settle() error {
	page, at := make([]byte, witnessPage), int64(w.last.Turn%2)*witnessPage
	if _, err := w.f.ReadAt(page, at); err != nil && err != io.EOF { // the last page may be short
		return err
	}
	if _, err := w.f.WriteAt(page, at); err != nil {
		return err
	}
	return w.f.Sync()
}

// startSegment notes that a segment is begun. The note survives the process at once, and a power cut after the next sync.
func (w *witness) startSegment(b begun) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil || b.Segment < w.last.Segment {
		return nil
	}
	b.Version = 1
	w.page.fixed = nil
	err := w.write(b)
	w.owed.Store(err == nil)
	w.at, w.refused = time.Time{}, begun{} // the first sync is noted at once
	if err != nil {
		w.refused = b
	}
	return err
}

// mark notes how far a segment is durable, if it is still the newest.
func (w *witness) mark(number uint64, end int64, at place, ended bool) error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	w.mu.Lock()
	err := w.note(progress{number, end, at}, ended)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.flush()
}

// touch is mark for the syncer, many times a second. Its note survives the process at once, and a power cut after the next mark. If
// it comes too soon after the previous one, a timer writes its progress, or that of a later call, as soon as it is time. So the last
// record is noted even if no further call follows.
func (w *witness) touch(p progress) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := touchEvery - time.Since(w.at)
	if w.syncing {
		wait = touchEvery
	}
	if wait <= 0 {
		w.held = progress{}
		return w.note(p, false)
	}
	pending := w.held.number != 0
	w.held = p
	switch {
	case pending || w.f == nil:
	case w.later == nil:
		w.later = time.AfterFunc(wait, w.makeUp)
	default:
		w.later.Reset(wait)
	}
	return nil
}

// makeUp writes the progress for which touch was too early. If the disk refuses, the next note returns the error.
func (w *witness) makeUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.syncing {
		w.later.Reset(touchEvery)
		return
	}
	p := w.held
	w.held = progress{}
	_ = w.note(p, false)
}

// note writes a note if it contains anything new. w.mu is held.
func (w *witness) note(p progress, ended bool) error {
	if w.f != nil && p.number != 0 && p.number == w.refused.Segment {
		w.page.fixed = nil // it may be of the previous segment, noted after the refusal
		if err := w.write(w.refused); err != nil {
			return err
		}
		w.refused = begun{}
	}
	if w.f == nil || p.number != w.last.Segment || p.at.seq+1 <= w.last.Next && p.end <= w.last.End && (w.last.Ended || !ended) {
		return nil
	}
	b := w.last
	b.Ended = b.Ended || ended
	b.End, b.Next, b.Bytes = max(b.End, p.end), max(b.Next, p.at.seq+1), max(b.Bytes, p.at.bytes)
	return w.write(b)
}

// write writes a note: over the last one, or to the other page if the last one is durable. w.mu is held.
func (w *witness) write(b begun) error {
	b.Turn = w.last.Turn + 2
	if w.safe {
		b.Turn--
	}
	page, err := w.page.encode(&b)
	if err != nil {
		return err
	}
	w.tries++
	if _, err := w.f.WriteAt(page, int64(b.Turn%2)*witnessPage); err != nil {
		w.page.fixed = nil // it may be of another segment than last's
		w.dirty = false    // last may be half overwritten: a sync would make that durable, and last would seem safe
		return err
	}
	w.last, w.at, w.dirty, w.safe = b, time.Now(), true, false
	return nil
}

// sync makes the note of startSegment durable, unless it is. It does not sync for notes of touch: a sync takes as long as one of a
// segment, and appends would wait for it.
func (w *witness) sync() error {
	if !w.owed.Load() {
		return nil
	}
	w.flushing.Lock()
	defer w.flushing.Unlock()
	return w.flush()
}

// flush makes the last note durable. If the note of a new segment is written meanwhile, that one is durable after the next flush.
// w.flushing is held.
func (w *witness) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.f
	if f == nil {
		return nil
	}
	// After a failed sync, also in settle, the sync is not repeated (see vfs.File.Sync), but the note is written again.
	if !w.dirty && !w.safe && w.last.Segment > 0 {
		if err := w.write(w.last); err != nil {
			return err
		}
	}
	if !w.dirty {
		return nil
	}
	tries := w.tries
	w.dirty, w.syncing = false, true
	w.mu.Unlock()
	err := f.Sync()
	w.mu.Lock()
	w.syncing = false
	if w.tries == tries && err == nil {
		w.safe = true
		w.owed.Store(false)
	}
	return err
}

func (w *witness) close() {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.later != nil {
		w.later.Stop()
	}
	if w.f != nil {
		_ = w.f.Close()
		w.f = nil
	}
}

// markEvery is the shortest time between two durable notes of the active segment's progress, touchEvery that between two notes.
// If the segment's file is lost, the records of the last markEvery before a power cut cannot be listed exactly, or those of the last
// touchEvery before a kill.
const (
	markEvery  = time.Second
	touchEvery = 10 * time.Millisecond
)

// noteBegun makes the witness note a segment that is about to be written. A failure is only logged.
func (j *journal) noteBegun(a *active) {
	j.mu.Lock()
	end, at := a.synced, j.placed
	j.mu.Unlock()
	h := a.header
	err := j.witness.startSegment(begun{
		Spool: h.Spool, Segment: h.Segment, Generation: h.Generation, First: h.First, Epoch: h.Epoch, Created: h.Created,
		Instance: h.Instance, Size: j.opts.SegmentBytes, End: end, Next: at.seq + 1, Bytes: at.bytes,
	})
	if err != nil {
		j.logAgain(slog.LevelWarn, "spool: cannot record the start of a segment; records are kept all the same, but a crash now may hide damage to the newest segment: see what the disk reports", "segment", h.Segment, "err", err)
	}
}

// noteResumed is noteBegun, durably, for an active segment that recovery has found.
func (j *journal) noteResumed() {
	if j.active != nil {
		j.noteBegun(j.active)
		j.syncBegun()
	}
}

// syncBegun makes that note durable, before anything in the segment counts as durable.
func (j *journal) syncBegun() {
	if err := j.witness.sync(); err != nil {
		j.logAgain(slog.LevelWarn, "spool: cannot sync the note of the newest segment; records are kept all the same, but a power cut now may hide damage to that segment: see what the disk reports", "err", err)
	}
}

// touchDurable notes, after a sync, how far the segment is durable.
func (j *journal) touchDurable(m mark) {
	if err := j.witness.touch(progress{m.active.number, m.offset, m.place}); err != nil {
		j.logAgain(slog.LevelWarn, "spool: cannot record how far a segment is durable; records are kept all the same, but a crash now may hide damage to its end: see what the disk reports", "segment", m.active.number, "err", err)
	}
}

// markDurable notes how far the active segment is durable, and returns when to do so again.
func (j *journal) markDurable() time.Duration {
	j.mu.Lock()
	a := j.active
	if a == nil {
		j.mu.Unlock()
		return never
	}
	number, end, at := a.number, a.synced, j.placed
	j.mu.Unlock()
	j.noteDurable(number, end, at, false)
	return markEvery
}

// noteEnding notes that a segment's file is about to be truncated to its valid blocks, so that a shorter file is not taken for damage.
func (j *journal) noteEnding(number uint64) { j.noteDurable(number, 0, place{}, true) }

func (j *journal) noteDurable(number uint64, end int64, at place, ended bool) {
	if err := j.witness.mark(number, end, at, ended); err != nil {
		j.logAgain(slog.LevelWarn, "spool: cannot record how far a segment is durable; records are kept all the same, but a crash now may hide damage to its end: see what the disk reports", "segment", number, "err", err)
	}
}

// openWitness continues with the note of the newest segment that recovery has read. If the disk refuses, the spool works without
// notes.
func (j *journal) openWitness(last *begun) error {
	err := j.witness.open(j.fs, j.dir, j.path(begunName), last)
	if statefile.Denied(err) {
		return fmt.Errorf("spool: %w", err)
	}
	if err != nil {
		j.log.Error("spool: cannot keep a note of the newest segment; records are kept all the same, but a crash now may hide damage to that segment: see what the disk reports", "class", j.opts.Class, "err", err)
	}
	return nil
}
