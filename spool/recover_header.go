package spool

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// headless handles a file whose header cannot be read.
//
//   - If the note of the newest segment is about this one, it contains the fields of the header: the blocks are read with these.
//   - If blocks with the damaged header's generation follow, only the segment's writer can have written them: the header was damaged,
//     or torn while its blocks reached the disk. They are read with the remaining fields of the header, unless these contradict other
//     files.
//   - If the first page is zeros, the file was prepared and never used, or it has lost its header; then walk finds its records missing.
//   - Otherwise it is set aside. A power cut can tear a header only before anything in the segment is durable; if something was,
//     walk finds its sequence numbers missing.
func (r *recovery) headless(f vfs.File, n uint64, size int64) error {
	s := r.s
	b := make([]byte, min(headerPad, size))
	if k, _ := f.ReadAt(b, 0); k < len(b) {
		b = nil // the disk cannot read it
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

// spares moves the files that were prepared and never used to the pool. r.blank does not contain files any more in whose place
// records are missing.
func (r *recovery) spares() error {
	s := r.s
	for _, n := range r.blank {
		r.noteUnused(n)
		if s.source != nil {
			if err := s.fs.Remove(s.segPath(n)); err != nil { // only from the overlay
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

// noteUnused is called for a segment whose file is about to be renamed. If nothing in it was ever durable, because a power cut has torn
// its header, noteUnused notes that the segment has ended. Otherwise the next Open would report the segment as missing.
func (r *recovery) noteUnused(n uint64) {
	if b := r.begun; b != nil && b.Segment == n && b.End == 0 && r.newest >= b.Size {
		r.s.journal.noteEnding(n)
	}
}

// guessHeader reads the fields of a header whose checksum is wrong, at the offsets in FORMAT.md; nil if they are not plausible. A
// wrong generation does no harm: the checksums of the blocks include it, so no block would be valid.
func (r *recovery) guessHeader(b []byte, n uint64) *segment.Header {
	h := guessHeader(b, n, r.s.id)
	if h == nil || h.Epoch > r.s.id.Epoch || !r.plausible(h) {
		return nil
	}
	return h
}

// guessHeader is recovery.guessHeader without the comparison with other files.
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

// plausible reports whether a guessed header agrees with the other files, the note of the newest segment and the index, also if the files
// that these describe are gone: the note contains its segment's generation, which no other segment has, and earlier segments hold lower
// sequence numbers, without a gap if no segment number is between. A file that has the name of another segment fails this check; if it
// were accepted, its records would be delivered a second time, those of a missing segment would not be missed, or no segment number
// would be left for those that are missing before it.
func (r *recovery) plausible(h *segment.Header) bool {
	if b := r.begun; b != nil && ((b.Segment == h.Segment) != (b.Generation == h.Generation) || b.Segment > h.Segment && b.First < h.First ||
		b.Segment < h.Segment && b.Next > h.First) {
		return false
	}
	if h.Segment == 1 && h.First != 1 {
		return false
	}
	for _, seg := range slices.AppendSeq(slices.Clone(r.absent), maps.Values(r.known)) {
		if seg.Number < h.Segment && seg.Last >= h.First || seg.Number > h.Segment && seg.First < h.First || seg.Number == h.Segment && seg.First != h.First {
			return false
		}
	}
	return !slices.ContainsFunc(r.parts, func(p *part) bool {
		if p.number >= h.Segment {
			return false
		}
		if p.sealed != nil {
			return p.sealed.Last >= h.First || p.number+1 == h.Segment && p.sealed.Last+1 < h.First
		}
		return p.first() > h.First // they are equal if the earlier file failed before anything in it was synced
	})
}

// options returns the options for reading an unsealed part.
func (p *part) options() segment.ReadOptions {
	o := segment.ReadOptions{Segment: p.number}
	if p.guessed {
		o.Header = p.header
	}
	return o
}

// whole reports whether these bytes are an intact header, of any segment: then there is nothing to guess.
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
