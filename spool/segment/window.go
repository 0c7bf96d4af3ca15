package segment

import (
	"errors"
	"fmt"
	"io"
)

// readAhead is how much of a segment is read at once: four blocks of the usual size.
const readAhead = 4 * BlockTarget

// sector is the unit in which a disk fails to read a file.
const sector = 4096

// window is the part of a file that is in memory. It moves forward with the blocks, and keeps the bytes that it already has of a
// partly loaded block, so that each byte of a file is read once.
type window struct {
	r    io.ReaderAt
	size int64  // of the file
	buf  []byte // holds [off, off+len(buf)) of the file
	off  int64
	// ahead is how many bytes are read at once, unless a block is larger.
	ahead int
	// skip makes unreadable sectors appear as zeros; salvaged says that there were some.
	skip     bool
	salvaged bool
}

// view returns n bytes of the file from off. The file must have them. They may be used only until the next call.
func (w *window) view(off int64, n int) ([]byte, error) {
	if have := w.off + int64(len(w.buf)); off >= w.off && off+int64(n) <= have {
		return w.buf[off-w.off:][:n], nil
	}
	if err := w.load(off, n); err != nil {
		return nil, err
	}
	return w.buf[:n], nil
}

// some returns at least n bytes of the file from off, and all that are in memory after them. The file must have the n bytes.
func (w *window) some(off int64, n int) ([]byte, error) {
	b, err := w.view(off, n)
	if err != nil {
		return nil, err
	}
	return b[:w.off+int64(len(w.buf))-off], nil
}

// load moves the window to off and fills it with at least n bytes. It keeps bytes that are already in memory.
func (w *window) load(off int64, n int) error {
	want := int(min(int64(max(n, w.ahead)), w.size-off))
	if cap(w.buf) < want {
		// The block is larger than any before. This is rare, so the bytes in memory are simply read again.
		w.buf = make([]byte, 0, max(want, min(2*cap(w.buf), MaxBlock)))
	}
	kept := 0
	if have := w.off + int64(len(w.buf)); off >= w.off && off < have {
		kept = copy(w.buf[:cap(w.buf)], w.buf[off-w.off:])
	}
	w.buf, w.off = w.buf[:want], off
	got, err := w.r.ReadAt(w.buf[kept:], off+int64(kept))
	if got == len(w.buf)-kept {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the file is shorter than it was said to be
	}
	at := off + int64(kept+got)
	if !w.skip {
		w.buf = w.buf[:0]
		return fmt.Errorf("segment: read at offset %d: %w", at, err)
	}
	w.salvage(kept + got)
	return nil
}

// salvage fills the window from position i on, sector by sector, with zeros for unreadable sectors.
func (w *window) salvage(i int) {
	for i < len(w.buf) {
		at := w.off + int64(i)
		part := w.buf[i:min(len(w.buf), i+int(sector-at%sector))]
		if n, _ := w.r.ReadAt(part, at); n < len(part) {
			clear(part)
			w.salvaged = true
		}
		i += len(part)
	}
}

// refused returns the error of the first unreadable sector in [from, to), nil if there is none.
func (w *window) refused(from, to int64) error {
	if !w.salvaged {
		return nil
	}
	b := make([]byte, sector)
	for to = min(to, w.size); from < to; from += sector - from%sector {
		part := b[:min(sector-from%sector, to-from)]
		if n, err := w.r.ReadAt(part, from); n < len(part) {
			return fmt.Errorf("segment: read at offset %d: %w", from+int64(n), err)
		}
	}
	return nil
}
