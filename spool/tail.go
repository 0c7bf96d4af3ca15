package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

// TailOptions configure Tail and TailDir. The zero value of every field means its documented default.
type TailOptions struct {
	// Hold keeps segments that every destination has from being deleted as long as the iteration runs. Default: such a segment may
	// be deleted before it is read, which is reported as a gap. It does not keep a full spool from giving up the segment file of a
	// segment that is staged, which is reported as a gap too: the staged file has the records, and Tail reads none. TailDir refuses
	// Hold: another process deletes.
	Hold bool
	// Stop ends the iteration after the last record that is there, instead of waiting for the next one.
	Stop bool
	// Poll is how often the spool is looked at for new records; default 100 ms.
	Poll time.Duration
}

func (o *TailOptions) withDefaults() TailOptions {
	var d TailOptions
	if o != nil {
		d = *o
	}
	if d.Poll == 0 {
		d.Poll = 100 * time.Millisecond
	}
	return d
}

// Tailed is a record as Tail yields it. Its Data may be used until the next iteration.
type Tailed struct {
	Seq uint64
	segment.Record
}

// GapError is yielded by Tail in the place of records that cannot be read. The iteration goes on after it.
type GapError struct {
	segment.Range
	// Gone: no segment file has them any more: every destination had them and they were deleted, or the file was set aside as
	// damaged, or a full spool has kept only the staged file. Otherwise they are damaged in their segment.
	Gone bool
	Err  error // what is damaged, nil if they are gone
}

// Error says which records are missing.
func (e *GapError) Error() string {
	if e.Gone {
		return fmt.Sprintf("spool: records %d to %d are in no segment file: they were deleted, set aside as damaged, or are only in their staged file", e.First, e.Last)
	}
	return fmt.Sprintf("spool: records %d to %d are damaged: %v", e.First, e.Last, e.Err)
}

// Unwrap returns what is damaged.
func (e *GapError) Unwrap() error { return e.Err }

// Tail iterates over the kept records with sequence numbers above after, in order, and waits for further ones until ctx ends.
// It does not delay appends, and delays deletion only if it is asked to. Records that cannot be read are reported once, by a
// *GapError with their range; the iteration goes on after it. Any other error ends it: that of ctx, ErrClosed after the last
// record of a closed spool, or that of a disk which refuses a read.
//
// Under SyncAlways a record is yielded once it is durable, otherwise once it is written: then a power cut may take it back,
// and give its number to another one.
func (s *Spool) Tail(ctx context.Context, after uint64, o *TailOptions) iter.Seq2[Tailed, error] {
	opts := o.withDefaults()
	t := &tail{fs: s.fs, dir: s.dir, o: opts, next: numberAfter(after), upTo: s.journal.keptUpTo}
	return func(yield func(Tailed, error) bool) {
		if opts.Hold {
			defer s.shelf.hold()()
		}
		t.run(ctx, yield)
	}
}

// TailDir is Spool.Tail for another process's spool, which may have it open, or for a directory that no process has open. It
// reads segment files only, writes nothing, and takes no lock. Records are yielded once they are written.
func TailDir(ctx context.Context, dir string, after uint64, o *TailOptions) iter.Seq2[Tailed, error] {
	opts := o.withDefaults()
	t := &tail{fs: vfs.OS(), dir: dir, o: opts, next: numberAfter(after)}
	return func(yield func(Tailed, error) bool) {
		err := checkDir("TailDir", dir)
		if opts.Hold {
			err = errors.Join(err, fmt.Errorf("%w: TailDir cannot keep another process from deleting (TailOptions.Hold)", ErrOptions))
		}
		if err != nil {
			yield(Tailed{}, err)
			return
		}
		t.run(ctx, yield)
	}
}

// numberAfter returns the sequence number at which reading begins after seq. No record has the largest number
// (segment.Unbounded), so nothing comes after that one.
func numberAfter(seq uint64) uint64 {
	if seq == math.MaxUint64 {
		return seq
	}
	return seq + 1
}

// keptUpTo returns the last record that Tail may yield, and whether the spool is closed. Nothing changes after that.
func (j *journal) keptUpTo() (last uint64, closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.opts.Sync == SyncAlways {
		return j.durable, j.closed
	}
	return j.written, j.closed
}

// run yields records until ctx ends, yield returns false, or something ends the iteration.
func (t *tail) run(ctx context.Context, yield func(Tailed, error) bool) {
	err := checkContext(ctx)
	defer t.close()
	for err == nil {
		var more bool
		switch more, err = t.pass(ctx, yield); {
		case err != nil, more:
		case t.o.Stop:
			return
		case t.closed:
			err = ErrClosed
		default:
			err = wait.Sleep(ctx, t.o.Poll)
		}
	}
	if !errors.Is(err, errEnough) {
		yield(Tailed{}, err)
	}
}
