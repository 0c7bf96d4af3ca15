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
// It trusts a block because of its checksum, which covers the generation of the file: a valid block belongs to the
// segment that was opened, even if the file was recycled meanwhile. When a block is not valid, or a file ends, tail reads the
// header again. Another generation means that the file was recycled: its segment is gone, and nothing is damaged.
type tail struct {
	fs   vfs.FS
	dir  string
	o    TailOptions
	next uint64 // the next sequence number to yield
	// upTo returns the last record that may be yielded; nil: all records in the files may be.
	upTo   func() (last uint64, closed bool)
	closed bool

	file   vfs.File // of the current segment, nil if there is none
	header *segment.Header
	r      *segment.Reader
	sealed bool // r knows where the segment ends
	size   int64
	past   uint64 // the last segment that was read to its end
}

// errEnough: the caller has ended the iteration.
var errEnough = errors.New("enough")

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
	t.file, t.header, t.r, t.sealed = nil, nil, nil, false
}

// pass yields the records that are available. more: it has yielded a record, or another file may have some, so the caller need not
// wait.
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
		case errors.Is(err, io.ErrUnexpectedEOF): // the file was truncated, by sealing, after its size was read
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

var errMissing = errors.New("the records are missing between two blocks")

// gap yields a GapError for the records up to last: they are damaged, or gone if why is nil.
func (t *tail) gap(yield func(Tailed, error) bool, last uint64, why error) bool {
	e := &GapError{Range: segment.Range{First: t.next, Last: last}, Gone: why == nil, Err: why}
	t.next = last + 1
	return yield(Tailed{}, e)
}

// unchanged reports whether the open file still holds the same segment.
func (t *tail) unchanged() bool {
	h, err := readHeader(t.file)
	return err == nil && h != nil && h.Generation == t.header.Generation
}

// turn decides how to continue when the current file has no more valid records.
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
	// The segment may have been sealed since it was opened, or the next one begun: then its end is known.
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
		return more, nil // the file is being changed: try again
	}
	_, footed := r.Footer()
	switch {
	case r.Header().Generation != t.header.Generation:
		return more, nil
	case footed, begun && first > t.next:
		t.r, t.sealed = r, true
		return true, t.seek()
	case begun: // further records in it were written again to the next segment
		t.past = t.header.Segment
		t.close()
		return true, nil
	case size > t.size: // the active segment, which has grown for a large block
		return true, t.grow(size)
	}
	return more, nil // the active segment: wait for more
}

// grow opens a reader for the current file, whose segment is still being written.
func (t *tail) grow(size int64) (err error) {
	t.size = size
	t.r, err = segment.NewReader(t.file, size, &segment.ReadOptions{Segment: t.header.Segment, Growing: true})
	if err != nil {
		t.close() // the file is being recycled
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

// following returns the first sequence number of the segment after the current one; false if there is none.
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

// look opens a segment and reads its header. If the file is gone, has no header yet, or holds another segment, h is nil, and no file
// is open.
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

// open opens the segment that has the next record. If there is none, it opens the first later segment, and the records before that are
// gone.
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
