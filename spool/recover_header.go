package spool

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// headless deals with a file whose header cannot be read.
//
//   - The note of the newest segment has what the header said: blocks of its generation are read with that.
//   - Zeros: it was prepared, and never used; or it has lost its header, and then walk finds its records missing.
//   - Blocks of the header's generation follow, which only the segment's writer can have made: the header was damaged, or
//     torn while its blocks reached the disk. They are read with what is left of it, unless that contradicts what else is
//     known of the segment.
//   - Otherwise it is set aside. A power cut tears headers before anything in the segment is promised; if something had
//     been, walk finds its sequence numbers missing.
func (r *recovery) headless(f vfs.File, n uint64, size int64) error {
	s := r.s
	b := make([]byte, min(headerPad, size))
	if k, _ := f.ReadAt(b, 0); k < len(b) {
		b = nil // the disk does not return it
	}
	var guesses []*segment.Header
	if r.begun != nil && r.begun.Segment == n {
		guesses = append(guesses, r.begun.header(s.id.Class))
	}
	blank := b != nil && allZero(b)
	if h := r.guessHeader(b, n); h != nil && !blank && !whole(b) {
		guesses = append(guesses, h)
	}
	for _, h := range guesses {
		res, err := s.scan(f, size, segment.ReadOptions{Header: h})
		if err == nil && res.End > headerPad {
			s.log.Warn("spool: reading a segment whose header is damaged, with what other files say of it; records that cannot be read are reported as damage: check the disk", "class", s.opts.Class, "segment", n, "next", res.Next)
			r.parts = append(r.parts, &part{number: n, header: h, size: size, guessed: true})
			return nil
		}
	}
	if blank {
		r.blank = append(r.blank, n)
		return nil
	}
	s.log.Warn("spool: moved a segment without a readable header to damaged/, where it stays until you remove it: it may be the only copy of records, and the report says which are missing", "class", s.opts.Class, "segment", n)
	return r.setSegmentAside(n)
}

// spares moves the files that were prepared and never used to the pool. Those in whose place records are missing are not
// among them any more.
func (r *recovery) spares() error {
	s := r.s
	for _, n := range r.blank {
		r.noteUnused(n)
		if s.source != nil {
			if err := s.fs.Remove(s.segPath(n)); err != nil { // from what this process sees
				return err
			}
			continue
		}
		if err := s.fs.Rename(s.segPath(n), s.freePath(n)); err != nil {
			return err
		}
	}
	if len(r.blank) == 0 || s.source != nil {
		return nil
	}
	return s.fs.SyncDir(s.path(segDir))
}

// noteUnused notes of a file that is about to get another name that nothing in it was ever durable, if that is so: a power
// cut has torn its header. Otherwise the next Open would miss it.
func (r *recovery) noteUnused(n uint64) {
	if b := r.begun; b != nil && b.Segment == n && b.End == 0 && r.newest >= b.Size {
		r.s.journal.noteEnding(n)
	}
}

// guessHeader reads the fields of a header whose checksum does not hold, at the places that FORMAT.md gives them; nil if
// they make no sense. What a wrong field could spoil is checked by the blocks, whose checksums have the generation.
func (r *recovery) guessHeader(b []byte, n uint64) *segment.Header {
	h := guessHeader(b, n, r.s.id)
	if h == nil || h.Epoch > r.s.id.Epoch || !r.plausible(h) {
		return nil
	}
	return h
}

// guessHeader is recovery.guessHeader without what else is known of the segment.
func guessHeader(b []byte, n uint64, id *identity) *segment.Header {
	if len(b) < 128 {
		return nil
	}
	le := binary.LittleEndian
	h := &segment.Header{
		Len: headerPad, Generation: le.Uint64(b[24:]), Segment: n, First: le.Uint64(b[40:]),
		Created: time.Unix(0, int64(le.Uint64(b[48:]))).UTC(),
		Spool:   id.Spool, Epoch: le.Uint32(b[84:]), Class: id.Class, Instance: id.Instance,
	}
	if uint32(h.Generation) == 0 || h.First == 0 || h.Epoch == 0 ||
		string(b[56:56+segment.SpoolIDLen]) != h.Spool && le.Uint64(b[32:]) != n {
		return nil
	}
	return h
}

// plausible reports whether a guessed header can be its segment's, by what else is known: the note of the newest segment has
// its generation, and earlier segments hold lower sequence numbers. A file that has got the name of another segment fails
// here; believed, it would deliver its records a second time.
func (r *recovery) plausible(h *segment.Header) bool {
	if b := r.begun; b != nil && (b.Segment == h.Segment && b.Generation != h.Generation || b.Segment > h.Segment && b.First < h.First) {
		return false
	}
	return !slices.ContainsFunc(r.parts, func(p *part) bool {
		if p.number >= h.Segment {
			return false
		}
		if p.sealed != nil {
			return p.sealed.Last >= h.First
		}
		return p.first() > h.First // one that failed before anything in it counted begins where the next does
	})
}

// options returns how to read a part that is not sealed.
func (p *part) options() segment.ReadOptions {
	o := segment.ReadOptions{Segment: p.number}
	if p.guessed {
		o.Header = p.header
	}
	return o
}

// whole reports whether these bytes are a header in order, of whatever segment: then there is nothing to guess.
func whole(b []byte) bool {
	_, err := segment.DecodeHeader(b)
	return err == nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
