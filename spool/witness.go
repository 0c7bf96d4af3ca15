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

// begun says of the newest segment, outside of its file, that it was begun and how far it is durable. Without it, a
// segment file that is deleted, cut short or zeroed after a kill would look as if nothing had ever been written to it.
type begun struct {
	Version int    `json:"version"` // 1
	Turn    uint64 `json:"turn"`    // grows with each write; it is even in the first of the two pages, odd in the second
	Spool   string `json:"spool"`

	// Segment and what its header holds, so that its blocks can be read without it.
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
	// Ended: nothing was written behind End.
	Ended bool `json:"ended,omitempty"`
}

// header returns what the segment's header said, the ledger apart.
func (b *begun) header(class string) *segment.Header {
	return &segment.Header{
		Len: headerPad, Generation: b.Generation, Segment: b.Segment, First: b.First, Created: b.Created,
		Spool: b.Spool, Epoch: b.Epoch, Class: class, Instance: b.Instance,
	}
}

// witnessPage is the length of a page: what a disk writes as a whole, or nearly.
const witnessPage = headerPad

// witness writes the file of begun. It has two pages, which are written in place: the one that holds a durable note stays
// as it is until the other one holds a newer one durably, so that a power cut in the middle of a write never leaves none, and
// no write needs room on a full disk.
//
// The invariant: before a record in a segment is called durable, the file says, durably, that the segment was begun. What
// it says is never ahead of the segments.
//
// Nobody who makes records durable waits for a sync of it, but for the one that the invariant asks for: flushing is held while the
// file is synced, and mu is not.
type witness struct {
	flushing sync.Mutex  // taken before mu
	owed     atomic.Bool // last's segment was begun, and no sync since has made that durable

	mu    sync.Mutex
	f     vfs.File // nil if there is none: then the spool works as ever, with one witness less
	last  begun
	page  notePage  // of last's segment
	dirty bool      // a sync would make last durable
	safe  bool      // last is durable
	at    time.Time // of the last write
	tries uint64    // to write a page

	syncing bool        // the file is being synced: only a beginning is written meanwhile
	refused begun       // a beginning that could not be written, if its Segment is not 0
	later   *time.Timer // writes what touch was too early for; nil until that has happened once
	held    progress    // what that is; nothing if its number is 0
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

// open makes the file if need be, and goes on from what it says.
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

// settle makes the last note durable: a process that was killed, or whose sync failed, may have left it in memory only. The same bytes
// are written again: a power cut in the middle changes nothing where they were durable. If the disk refuses, the next flush writes the
// note again, and returns the error.
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

// startSegment notes that a segment is begun. The note survives the process at once, and a power cut after sync.
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

// touch is mark for the syncer, many times a second: it survives the process, and a power cut after the next mark. One
// that comes too soon after another is made up for as soon as it is time, unless a later one has come by then: a spool
// that falls silent has its last record noted.
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

// makeUp writes what touch was too early for. A disk that refuses is told of by the next note.
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

// note writes a note if there is something new in it. w.mu is held.
func (w *witness) note(p progress, ended bool) error {
	if w.f != nil && p.number != 0 && p.number == w.refused.Segment {
		w.page.fixed = nil // since the refusal, the segment before may have been noted
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

// write puts a note into the page whose turn it is: that of the last one, unless that is durable. w.mu is held.
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
		w.page.fixed = nil // it may be of a segment that is not last's
		w.dirty = false    // half of it may be where last was: a sync would make that durable, and last would seem safe
		return err
	}
	w.last, w.at, w.dirty, w.safe = b, time.Now(), true, false
	return nil
}

// sync makes durable what startSegment has noted, if it is not. What touch notes can wait: a sync takes as long as one of a
// segment, which appends wait for.
func (w *witness) sync() error {
	if !w.owed.Load() {
		return nil
	}
	w.flushing.Lock()
	defer w.flushing.Unlock()
	return w.flush()
}

// flush makes the last note durable. A beginning that is written meanwhile is durable after the next. w.flushing is held.
func (w *witness) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.f
	if f == nil {
		return nil
	}
	// A sync that failed, also that of settle, is not repeated: see vfs.File.Sync. The note is written again.
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

// markEvery is how often at most the progress of the active segment is made durable outside of it, touchEvery how often it
// is noted there. They bound, in time, what cannot be named exactly when its file is gone after a power cut, and a kill.
const (
	markEvery  = time.Second
	touchEvery = 10 * time.Millisecond
)

// noteBegun tells the witness of the segment that is about to be written. A witness that fails stops nothing.
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

// syncBegun makes that note durable, before anything in the segment is called durable.
func (j *journal) syncBegun() {
	if err := j.witness.sync(); err != nil {
		j.logAgain(slog.LevelWarn, "spool: cannot sync the note of the newest segment; records are kept all the same, but a power cut now may hide damage to that segment: see what the disk reports", "err", err)
	}
}

// touchDurable notes, after a sync, what that has made durable.
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

// noteEnding notes that a segment is about to be cut to what counts in it, so that a file that is shorter tells nothing.
func (j *journal) noteEnding(number uint64) { j.noteDurable(number, 0, place{}, true) }

func (j *journal) noteDurable(number uint64, end int64, at place, ended bool) {
	if err := j.witness.mark(number, end, at, ended); err != nil {
		j.logAgain(slog.LevelWarn, "spool: cannot record how far a segment is durable; records are kept all the same, but a crash now may hide damage to its end: see what the disk reports", "segment", number, "err", err)
	}
}

// openWitness goes on with the note of the newest segment that recovery has read. A disk that refuses it costs a witness.
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
