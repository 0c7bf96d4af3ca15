package segment

import (
	"fmt"
	"io"
)

// walker goes from block to block. Reading and recovery share it: only walker decides which blocks are valid, what
// is damage, and where a torn file ends.
type walker struct {
	w          window
	generation uint64
	pos        int64  // the offset of the next block
	seq        uint64 // the sequence number that comes next
	end        int64  // no block begins at or after this offset
	// durable is the highest mark known: an invalid stretch that begins below it is damage.
	durable int64
	marked  bool // every mark in the file is known
	// next, if not 0, is the sequence number after the last one, known from a footer or from the caller. Records missing
	// below it are damaged, wherever they were in the file, and records beyond it do not belong to the segment.
	next uint64
	// recordsEnd, if not 0, is an offset after which there is no block of records: the offset in the trailer of a damaged footer, or
	// the end of a valid footer.
	recordsEnd int64
	done       bool
	// growing: reading stops for now at the first invalid block, see ReadOptions.Growing.
	growing bool
	// wasted counts the bytes of blocks whose checksum was wrong.
	wasted int64
}

// errHostile is returned for a file that would keep a reader busy for hours.
var errHostile = fmt.Errorf("%w: it has more invalid blocks than damage can explain", ErrCorrupt)

// step returns the next block. The error is io.EOF at the end, a *DamageError for a damaged stretch, after which the next call
// continues, or a failed read, which the next call retries. The block may be used only until the next call.
func (w *walker) step() (h BlockHeader, block []byte, err error) {
	if w.done {
		return h, nil, io.EOF
	}
	h, block, err = w.block(w.pos)
	if err != nil {
		return h, nil, err
	}
	if block == nil && w.growing {
		w.w.buf = w.w.buf[:0] // the file may have changed by the next call
		return h, nil, io.EOF
	}
	if block == nil {
		return h, nil, w.damage()
	}
	if h.First > w.seq {
		// No writer leaves a hole; still, the missing sequence numbers are known, and the block is intact.
		d := &DamageError{First: w.seq, Last: h.First - 1, Offset: w.pos, End: w.pos}
		w.seq = h.First
		return h, nil, d
	}
	w.pos = Align(w.pos + int64(len(block)))
	w.seq = h.First + uint64(h.Count)
	w.durable = max(w.durable, int64(h.Durable))
	if h.Type == FooterBlock {
		// Only the trailer follows, or, after an interrupted seal, bytes that were not truncated yet.
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
		// Damaged blocks are read in vain once, or twice with readMarks. But anyone who knows the generation can make a file in
		// which a false block of 16 MiB begins at every 16 bytes.
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

// damage decides whether the invalid bytes at w.pos are a torn tail, which ends the segment, or damage, which it reports and skips.
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

// readMarks raises the mark to the highest of all valid blocks from h, of n bytes, to the end. It reads to the end only once, so
// that no arrangement of marks and damage can make the walker do that again for each stretch.
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

// rewind moves the walker to the block at pos. The known marks and the end stay.
func (w *walker) rewind(pos int64, seq uint64) {
	w.pos, w.seq, w.done, w.wasted = pos, seq, false, 0
}
