package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// tail reads the segment files of a directory in the order of their records, while a process may write, seal, delete and
// recycle them.
//
// It trusts a block because of its checksum, which covers the generation of the file: a block that is read is one of the
// segment that was opened, whatever has become of the file since. When a block is not valid, and when a file ends, it reads the
// header again. Another generation means that the file was recycled: its segment is gone, and nothing is damaged.
type tail struct {
	fs   vfs.FS
	dir  string
	o    TailOptions
	next uint64 // the sequence number to be yielded next
	// upTo bounds what is yielded; nil for what the files have.
	upTo   func() (last uint64, closed bool)
	closed bool

	file   vfs.File // of the current segment, nil if there is none
	header *segment.Header
	r      *segment.Reader
	sealed bool // r knows where the segment ends
	size   int64
	past   uint64 // the last segment that was read to its end
}

// errEnough: the caller has left its loop.
var errEnough = errors.New("enough")

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
	t.file, t.header, t.r, t.sealed = nil, nil, nil, false
}

// pass yields what there is. more: it has yielded something or has another file to look at, and the caller need not wait.
func (t *tail) pass(ctx context.Context, yield func(Tailed, error) bool) (more bool, err error) {
	last := uint64(math.MaxUint64)
	if t.upTo != nil {
		last, t.closed = t.upTo()
	}
	if t.next > last {
		return false, ctx.Err()
	}
	if t.file == nil {
		if found, err := t.open(yield); !found || err != nil {
			return false, err
		}
	}
	for t.next <= last {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		seq, rec, err := t.r.Next()
		damage, damaged := errors.AsType[*segment.DamageError](err)
		switch {
		case err == nil && seq >= t.next:
			if seq > t.next && !t.gap(yield, seq-1, errMissing) {
				return false, errEnough
			}
			t.next, more = seq+1, true
			if !yield(Tailed{seq, rec}, nil) {
				return false, errEnough
			}
		case err == nil: // written again after a failure
		case damaged && t.sealed && t.unchanged():
			if lost, some := damage.Range(); some && lost.Last != segment.Unbounded && lost.Last >= t.next && !t.gap(yield, lost.Last, damage) {
				return false, errEnough
			}
		case errors.Is(err, io.ErrUnexpectedEOF): // it was cut to its length after its size was looked at
			t.sealed = false
			return t.turn(yield, more)
		case err == io.EOF, damaged:
			return t.turn(yield, more)
		default:
			return false, fmt.Errorf("spool: tail: %w", err)
		}
	}
	return more, nil
}

var errMissing = errors.New("they are missing between two blocks")

// gap yields that everything up to last is missing: damaged, or gone if why is nil.
func (t *tail) gap(yield func(Tailed, error) bool, last uint64, why error) bool {
	e := &GapError{Range: segment.Range{First: t.next, Last: last}, Gone: why == nil, Err: why}
	t.next = last + 1
	return yield(Tailed{}, e)
}

// unchanged reports whether the open file still holds the segment that it held.
func (t *tail) unchanged() bool {
	h, err := readHeader(t.file)
	return err == nil && h != nil && h.Generation == t.header.Generation
}

// turn decides how to go on where the current file gives nothing more.
func (t *tail) turn(yield func(Tailed, error) bool, more bool) (bool, error) {
	if !t.unchanged() { // recycled
		t.close()
		return true, nil
	}
	if t.sealed {
		if f, ok := t.r.Footer(); ok && f.Next > t.next && !t.gap(yield, f.Next-1, errMissing) {
			return false, errEnough
		}
		t.past = t.header.Segment
		t.close()
		return true, nil
	}
	// It may have been sealed, or its process has begun the next one, since it was opened: then its end is known.
	first, begun, err := t.following()
	if err != nil {
		return false, err
	}
	o := segment.ReadOptions{Segment: t.header.Segment}
	if begun {
		o.Next = first
	}
	size, err := t.file.Size()
	if err != nil {
		return false, fmt.Errorf("spool: tail: %w", err)
	}
	r, err := segment.NewReader(t.file, size, &o)
	if err != nil {
		return more, nil // it changes at this moment: look again
	}
	_, footed := r.Footer()
	switch {
	case r.Header().Generation != t.header.Generation:
		return more, nil
	case footed, begun && first > t.next:
		t.r, t.sealed = r, true
		return true, t.seek()
	case begun: // what it has beyond that was written again
		t.past = t.header.Segment
		t.close()
		return true, nil
	case size > t.size: // the active segment, with a block that needed more room
		return true, t.grow(size)
	}
	return more, nil // the active segment: wait for more
}

// grow reads the current file as one that is being written.
func (t *tail) grow(size int64) (err error) {
	t.size = size
	t.r, err = segment.NewReader(t.file, size, &segment.ReadOptions{Segment: t.header.Segment, Growing: true})
	if err != nil {
		t.close() // recycled at this moment
		return nil
	}
	return t.seek()
}

func (t *tail) seek() error {
	if err := t.r.Seek(t.next); err != nil {
		return fmt.Errorf("spool: tail: %w", err)
	}
	return nil
}

// following returns where the segment after the current one begins; false if there is none.
func (t *tail) following() (first uint64, begun bool, err error) {
	numbers, err := t.list()
	if err != nil {
		return 0, false, err
	}
	for _, n := range numbers {
		if n <= t.header.Segment {
			continue
		}
		f, h, err := t.look(n)
		if err != nil {
			return 0, false, err
		}
		if h != nil {
			return h.First, true, f.Close()
		}
	}
	return 0, false, nil
}

// list returns the numbers of the segment files, ascending.
func (t *tail) list() ([]uint64, error) {
	numbers, err := listSegments(t.fs, t.dir)
	if err != nil {
		return nil, fmt.Errorf("spool: tail: %w", err)
	}
	return numbers, nil
}

// look opens a segment and reads its header. h is nil, and nothing is open, for a file that is gone, that has not been begun, or
// that is another segment's.
func (t *tail) look(n uint64) (f vfs.File, h *segment.Header, err error) {
	f, err = t.fs.Open(filepath.Join(t.dir, segDir, numberName(n)+segExt))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("spool: tail: %w", err)
	}
	h, err = readHeader(f)
	if err == nil && h != nil && h.Segment == n {
		return f, h, nil
	}
	_ = f.Close()
	if errors.Is(err, segment.ErrVersion) {
		return nil, nil, fmt.Errorf("spool: tail: segment %d: %w", n, err)
	}
	return nil, nil, nil
}

// open opens the segment that has the next record, or the first one after it: then what comes before is gone.
func (t *tail) open(yield func(Tailed, error) bool) (found bool, err error) {
	numbers, err := t.list()
	if err != nil {
		return false, err
	}
	var file vfs.File
	var header *segment.Header
	for _, n := range slices.Backward(numbers) {
		if n <= t.past {
			break
		}
		f, h, err := t.look(n)
		if err != nil {
			return false, err
		}
		if h == nil {
			continue
		}
		if file != nil {
			_ = file.Close()
		}
		if file, header = f, h; h.First <= t.next {
			break
		}
	}
	if file == nil {
		return false, nil
	}
	if header.First > t.next && !t.gap(yield, header.First-1, nil) {
		_ = file.Close()
		return false, errEnough
	}
	t.file, t.header = file, header
	size, err := file.Size()
	if err != nil {
		return false, fmt.Errorf("spool: tail: %w", err)
	}
	err = t.grow(size)
	return t.file != nil, err
}
