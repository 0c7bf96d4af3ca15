package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// file is an opened segment: its header and footer, and a walker at its first block.
type file struct {
	walker
	header *Header
	footer *Footer
	// rawHeader and rawFooter are the bytes they were decoded from.
	rawHeader, rawFooter []byte
	// headless is set if the header on the disk is damaged and a copy of it is used.
	headless *DamageError
}

// openFile reads trailer, footer and header of the segment in the first size bytes of r.
func openFile(r io.ReaderAt, size int64, o ReadOptions) (*file, error) {
	f := &file{}
	size = max(size, 0)
	f.w = window{r: r, size: size, skip: o.SkipUnreadable}
	var sealed seal
	var err error
	// Do not read ahead yet: a spool opens a hundred thousand segments only for their headers and footers.
	if o.End == 0 && !o.Growing {
		if sealed, err = f.readSeal(); err != nil {
			return nil, err
		}
	}
	if err = f.readHeader(); err != nil && !errors.Is(err, ErrCorrupt) {
		return nil, err
	}
	if err != nil {
		if !f.behead(sealed, o.Header) {
			return nil, err
		}
	}
	h := f.header
	if o.Segment != 0 && h.Segment != o.Segment {
		return nil, fmt.Errorf("%w: the file holds segment %d, not %d", ErrCorrupt, h.Segment, o.Segment)
	}
	f.generation, f.pos, f.seq = h.Generation, int64(h.Len), h.First
	f.end, f.durable, f.next, f.growing = size, o.Durable, o.Next, o.Growing
	switch {
	case o.End != 0:
		f.end = min(size, o.End)
	case sealed.generation != h.Generation: // no trailer, or the old one of a recycled file
	case sealed.footer == nil || !sealed.fits(h): // it was sealed, so everything in it had been synced
		f.recordsEnd, f.durable = sealed.offset, size
	default:
		f.footer, f.rawFooter = sealed.footer, sealed.payload
		f.end, f.durable, f.next = sealed.offset, sealed.offset, f.footer.Next
	}
	f.w.ahead = readAhead
	return f, nil
}

// readHeader reads the header. The error is not ErrCorrupt if the file cannot be read or is of another version.
func (f *file) readHeader() error {
	n := min(f.w.size, 4096) // the length that the spool pads to: one read
	b, err := f.w.view(0, int(n))
	if err != nil {
		return err
	}
	if n >= headerFixed {
		if long := int64(le.Uint32(b[12:])); long > n && long <= MaxHeader {
			if b, err = f.w.view(0, int(min(f.w.size, long))); err != nil {
				return err
			}
		}
	}
	if f.header, err = DecodeHeader(b); err == nil {
		f.rawHeader = bytes.Clone(trimHeader(b))
	}
	return err
}

// behead uses a copy instead of a damaged header; false if there is none.
func (f *file) behead(s seal, known *Header) bool {
	if known != nil && known.validate() == nil && known.Len >= headerFixed {
		f.header = known // preferred, since the footer may be an old one of a recycled file
	} else if s.footer != nil {
		if h, err := DecodeHeader(s.footer.Header); err == nil && h.Generation == s.generation {
			f.header, f.rawHeader = h, s.footer.Header
		}
	}
	if f.header == nil {
		return false
	}
	f.headless = &DamageError{
		First: f.header.First, Last: f.header.First - 1, End: int64(f.header.Len),
		Err: f.w.refused(0, int64(f.header.Len)),
	}
	return true
}

// seal is the information at the end of a sealed segment. The generation is 0 if there is no trailer, the footer nil if it is
// damaged.
type seal struct {
	generation uint64
	offset     int64
	footer     *Footer
	payload    []byte
}

// fits reports whether the footer belongs to the header.
func (s *seal) fits(h *Header) bool {
	i := s.footer.Index
	return s.footer.First == h.First && s.offset >= int64(h.Len) &&
		(len(i) == 0 || int64(i[0].Offset) >= int64(h.Len) && int64(i[len(i)-1].Offset) < s.offset)
}

// readSeal reads trailer and footer, if there are any.
func (f *file) readSeal() (s seal, err error) {
	size := f.w.size
	if size < headerFixed+BlockHeaderSize+TrailerSize {
		return s, nil
	}
	b, err := f.w.view(size-TrailerSize, TrailerSize)
	if err != nil {
		return s, err
	}
	var ok bool
	if s.generation, s.offset, ok = decodeTrailer(b); !ok || s.offset > size-TrailerSize-BlockHeaderSize {
		return seal{}, nil
	}
	// Use the walker to check the footer like any other block. It must end where the trailer begins: otherwise the trailer
	// does not belong to this footer.
	f.generation, f.end, f.seq = s.generation, size-TrailerSize, 1
	h, block, err := f.block(s.offset)
	if err != nil || block == nil || h.Type != FooterBlock || Align(s.offset+int64(len(block)))+TrailerSize != size {
		return s, err
	}
	payload := bytes.Clone(block[BlockHeaderSize:])
	if s.footer, err = DecodeFooter(payload); err == nil {
		s.payload = payload
	}
	return s, nil
}
