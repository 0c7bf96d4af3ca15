package spool

import (
	"encoding/binary"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// headless deals with a file whose header cannot be read.
//
//   - Zeros: it was prepared, and never used. It joins the pool.
//   - Blocks of the header's generation follow, which only the segment's writer can have made: the header was damaged, or
//     torn while its blocks reached the disk. They are read with what is left of it.
//   - Else it is set aside. A power cut tears headers before anything in the segment is promised; if something had been,
//     walk finds its sequence numbers missing.
func (r *recovery) headless(f vfs.File, n uint64, size int64) error {
	s := r.s
	b := make([]byte, min(headerPad, size))
	if k, _ := f.ReadAt(b, 0); k < len(b) {
		b = nil // the disk does not return it
	}
	if b != nil && allZero(b) {
		if s.source != nil {
			return s.fs.Remove(s.segPath(n)) // nothing is to be written
		}
		if err := s.fs.Rename(s.segPath(n), s.freePath(n)); err != nil {
			return err
		}
		return s.fs.SyncDir(s.path(segDir))
	}
	if h := r.guessHeader(b, n); h != nil {
		res, err := scan(f, size, segment.ReadOptions{Header: h})
		if err == nil && res.End > headerPad {
			s.log.Warn("spool: a segment is read without its header", "class", s.opts.Class, "segment", n, "next", res.Next)
			r.parts = append(r.parts, &part{number: n, header: h, size: size, guessed: true})
			return nil
		}
	}
	s.log.Warn("spool: a segment without a readable header is set aside", "class", s.opts.Class, "segment", n)
	return s.setAside(segDir, numberName(n)+segExt)
}

// guessHeader reads the fields of a header whose checksum does not hold, at the places that FORMAT.md gives them; nil if
// they make no sense. What a wrong field could spoil is checked by the blocks, whose checksums have the generation.
func (r *recovery) guessHeader(b []byte, n uint64) *segment.Header {
	if len(b) < 128 {
		return nil
	}
	le := binary.LittleEndian
	h := &segment.Header{
		Len: headerPad, Generation: le.Uint64(b[24:]), Segment: n, First: le.Uint64(b[40:]),
		Created: time.Unix(0, int64(le.Uint64(b[48:]))).UTC(),
		Spool:   r.s.id.Spool, Epoch: le.Uint32(b[84:]), Class: r.s.id.Class, Instance: r.s.id.Instance,
	}
	if uint32(h.Generation) == 0 || h.First == 0 || h.Epoch == 0 || h.Epoch > r.s.id.Epoch ||
		string(b[56:56+spoolIDLen]) != h.Spool && le.Uint64(b[32:]) != n {
		return nil
	}
	return h
}

// options returns how to read a part that is not sealed.
func (p *part) options() segment.ReadOptions {
	o := segment.ReadOptions{Segment: p.number}
	if p.guessed {
		o.Header = p.header
	}
	return o
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
