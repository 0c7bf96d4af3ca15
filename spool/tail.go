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
	// Hold prevents the deletion of segments that every destination has while the iteration runs. Without it such a segment may
	// be deleted before it is read, which is reported as a gap. Even with Hold, a full spool may delete the own file of a
	// staged segment. That is reported as a gap too, because Tail does not read staged files. TailDir refuses
	// Hold, because another process deletes the segments.
	Hold bool
	// Stop ends the iteration after the last existing record, instead of waiting for the next one.
	Stop bool
	// Poll is the interval at which Tail looks for new records; default 100 ms.
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

// GapError is yielded by Tail instead of records that cannot be read. The iteration continues after it.
type GapError struct {
	segment.Range
	// Gone: no segment file has the records any more. Either every destination had them and they were deleted, or the file was set
	// aside as damaged, or a full spool has kept only the staged file. If Gone is false, they are damaged in their segment.
	Gone bool
	Err  error // the damage, nil if the records are gone
}

// Error says which records are missing.
func (e *GapError) Error() string {
	if e.Gone {
		return fmt.Sprintf("spool: records %d to %d are in no segment file: they were deleted, set aside as damaged, or are only in their staged file", e.First, e.Last)
	}
	return fmt.Sprintf("spool: records %d to %d are damaged: %v", e.First, e.Last, e.Err)
}

// Unwrap returns the damage.
func (e *GapError) Unwrap() error { return e.Err }

// Tail iterates over the kept records with sequence numbers above after, in order, and waits for further ones until ctx ends.
// It does not delay appends, and delays deletion only with Hold. Records that cannot be read are reported once, by a
// *GapError with their range, and the iteration continues after it. Any other error ends it: that of ctx, ErrClosed after the last
// record of a closed spool, or a failed read of the disk.
//
// Under SyncAlways a record is yielded once it is durable, otherwise once it is written: then a power cut may destroy it, and
// its number may be assigned to another record.
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

// TailDir is Spool.Tail for the spool in dir, which another process may have open. It
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

// numberAfter returns the sequence number after seq. No record has the largest number
// (segment.Unbounded), so for that one it returns seq.
func numberAfter(seq uint64) uint64 {
	if seq == math.MaxUint64 {
		return seq
	}
	return seq + 1
}

// keptUpTo returns the last record that Tail may yield, and whether the spool is closed.
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
