package segment

import (
	"fmt"
	"io"
)

// walker goes from block to block. Reading and recovery share it: it is the one place that decides what is valid, what
// is damage, and where a torn file ends.
type walker struct {
	w          window
	generation uint64
	pos        int64  // where the next block begins
	seq        uint64 // the sequence number that comes next
	end        int64  // no block begins at or after it
	// durable is the highest mark known: an invalid stretch that begins below it is damage.
	durable int64
	marked  bool // every mark in the file is known
	// next, if not 0, is the sequence number after the last one, known from a footer or from outside. Records missing
	// below it are damage wherever they were, and records beyond it do not belong to the segment.
	next uint64
	// recordsEnd, if not 0, is an offset after which there is no block of records: where a trailer says that a footer
	// (which turned out to be damaged) begins, or the end of a footer that was passed.
	recordsEnd int64
	done       bool
	// growing: the first invalid block is the end for now, see ReadOptions.Growing.
	growing bool
	// wasted counts the bytes of blocks whose checksum failed.
	wasted int64
}

// errHostile ends the reading of a file that would keep a reader busy for hours.
var errHostile = fmt.Errorf("%w: it holds more beginnings of blocks without their ends than damage explains", ErrCorrupt)

// step returns the next block. The error is io.EOF at the end, a *DamageError for a damaged stretch, after which step
// continues after it, or that of a read that failed, which the next call retries. The block may be used
// until the next call.
func (w *walker) step() (h BlockHeader, block []byte, err error) {
	if w.done {
		return h, nil, io.EOF
	}
	h, block, err = w.block(w.pos)
	if err != nil {
		return h, nil, err
	}
	if block == nil && w.growing {
		w.w.buf = w.w.buf[:0] // by the next call the file has changed
		return h, nil, io.EOF
	}
	if block == nil {
		return h, nil, w.damage()
	}
	if h.First > w.seq {
		// No writer leaves a hole; still, the number of what is missing is known, and the block is as it was written.
		d := &DamageError{First: w.seq, Last: h.First - 1, Offset: w.pos, End: w.pos}
		w.seq = h.First
		return h, nil, d
	}
	w.pos = Align(w.pos + int64(len(block)))
	w.seq = h.First + uint64(h.Count)
	w.durable = max(w.durable, int64(h.Durable))
	if h.Type == FooterBlock {
		// Nothing follows but the trailer, or what a seal that a crash cut short has not yet truncated away.
		w.end, w.recordsEnd = w.pos, w.pos
	}
	return h, block, nil
}

// block returns the block that begins at off, nil if there is no valid one that can come next.
func (w *walker) block(off int64) (h BlockHeader, block []byte, err error) {
	if w.end-off < BlockHeaderSize {
		return h, nil, nil
	}
	b, err := w.w.view(off, BlockHeaderSize)
	if err != nil || le.Uint32(b) != uint32(w.generation) {
		return h, nil, err
	}
	h, n, ok := readBlockHeader(b, off)
	if !ok || int64(n) > w.end-off || h.First < w.seq || w.next != 0 && h.First+uint64(h.Count) > w.next {
		return h, nil, nil
	}
	if b, err = w.w.view(off, n); err != nil {
		return h, nil, err
	}
	if !intact(b, w.generation, off) {
		// Damage wastes what it hits, twice with readMarks. Who knows the generation can make a file with a false block
		// of 16 MiB at every 16 bytes.
		if w.wasted += int64(n); w.wasted > 4*w.w.size+16*MaxBlock {
			return h, nil, errHostile
		}
		return h, nil, nil
	}
	if h.Type == RecordBlock && !wellFormed(b[BlockHeaderSize:], h.Count) {
		return h, nil, nil
	}
	h.Generation = w.generation
	return h, b, nil
}

// search returns the first valid block at or after off, n = 0 if there is none.
func (w *walker) search(off int64) (h BlockHeader, n int, err error) {
	tag := uint32(w.generation)
	for w.end-off >= BlockHeaderSize {
		b, err := w.w.some(off, BlockHeaderSize)
		if err != nil {
			return h, 0, err
		}
		for len(b) >= BlockHeaderSize && le.Uint32(b) != tag {
			b, off = b[alignment:], off+alignment
		}
		if len(b) < BlockHeaderSize {
			continue
		}
		h, block, err := w.block(off)
		if err != nil || block != nil {
			return h, len(block), err
		}
		off += alignment
	}
	return h, 0, nil
}

// damage decides about the invalid bytes at w.pos. A torn tail ends the file; anything else is reported and skipped.
func (w *walker) damage() error {
	start := w.pos
	h, n, err := w.search(start + alignment)
	if err != nil {
		return err
	}
	if start >= w.durable && w.seq >= w.next && !w.marked {
		if err = w.readMarks(h, n); err != nil {
			return err
		}
	}
	if start >= w.durable && w.seq >= w.next {
		w.done = true
		return io.EOF
	}
	d := &DamageError{First: w.seq, Offset: start}
	if n > 0 {
		d.End, d.Last = h.Offset, h.First-1
		w.pos, w.seq = h.Offset, h.First
	} else {
		d.End, d.Last = max(start, w.end, w.durable), Unbounded
		if w.next != 0 || start == w.recordsEnd {
			d.Last = max(w.next, w.seq) - 1
			w.seq = d.Last + 1
		}
		w.done = true
	}
	d.Err = w.w.refused(d.Offset, d.End)
	return d
}

// readMarks raises the mark to the highest of all valid blocks from h, of n bytes, to the end: it goes there once, so
// that no arrangement of marks and damage makes it look for each stretch again.
func (w *walker) readMarks(h BlockHeader, n int) (err error) {
	for n > 0 {
		w.durable = max(w.durable, int64(h.Durable))
		if h, n, err = w.search(Align(h.Offset + int64(n))); err != nil {
			return err
		}
	}
	w.marked = true
	return nil
}

// rewind goes back to the first block. It keeps what it knows of marks and the end.
func (w *walker) rewind(pos int64, seq uint64) {
	w.pos, w.seq, w.done, w.wasted = pos, seq, false, 0
}
