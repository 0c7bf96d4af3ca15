package segment

import (
	"io"
	"slices"
)

// ReadOptions say what the caller knows about a segment in addition to its bytes. The zero value suits a file that no process
// writes to.
type ReadOptions struct {
	// End, if not 0, is the offset at which reading of an active segment stops: the writer's position. The reader does not look for
	// a trailer.
	End int64
	// Durable is an offset below which everything is known to have been on stable storage: an invalid stretch below it is
	// damage, not a torn tail. Marks in the file count in addition. Pass the file's size if the file is known to have
	// been sealed, or closed in order.
	Durable int64
	// Next, if not 0, is the sequence number after the segment's last record: the next segment's first. Blocks beyond it
	// are ignored, since they were written again to the next segment after a failed write; records missing
	// below it are damaged. If the footer is intact, its own value is used instead.
	Next uint64
	// Segment, if not 0, is the number that the header must have. A file that was renamed by mistake, or only partly recycled,
	// is refused.
	Segment uint64
	// Header, if not nil, is a copy from another file (with its Len). It is used if the file's own header
	// is damaged. Without it the footer's copy is used.
	Header *Header
	// Growing: a process writes to the file. Reading stops for now at the first block that is not valid yet: Next returns
	// io.EOF, and the following call tries that block again. Damage and torn tails look the same; read the file without
	// Growing once it is sealed, or once a later segment has begun. The reader does not look for a trailer.
	Growing bool
	// SkipUnreadable turns stretches that the disk cannot read into damage. Without it a failed read is an error, after
	// which the same call may be tried again. Set it only after enough attempts: records that are reported as damaged will
	// be written off.
	SkipUnreadable bool
}

// Reader streams the records of a segment, block by block, each block checked before its first record is returned. It
// reads through one buffer of 256 KiB, or of the largest block, and allocates nothing for a record. It is not safe for
// concurrent use; any number of Readers may share a file.
type Reader struct {
	f    *file
	rest *Header // the header with the First that was passed to Begin; nil without Begin

	from  uint64 // records below it are skipped
	seq   uint64 // of the first record in block
	block []byte // the rest of the current block's payload
	attrs attrReader
}

// NewReader returns a Reader of the segment in the first size bytes of r. Nil options suit a file that no process writes to.
//
// The error is ErrVersion for a segment of another version, and ErrCorrupt if the header is damaged and neither o nor a footer
// has a copy of it. No other damage is an error: see Next.
func NewReader(r io.ReaderAt, size int64, o *ReadOptions) (*Reader, error) {
	if o == nil {
		o = new(ReadOptions)
	}
	f, err := openFile(r, size, *o)
	if err != nil {
		return nil, err
	}
	return &Reader{f: f, seq: f.seq}, nil
}

// Header returns the segment's header, which may only be read.
func (r *Reader) Header() *Header {
	if r.rest != nil {
		return r.rest
	}
	return r.f.header
}

// Begin makes the segment appear to begin with the record of the given sequence number: in Header, and for Next.
func (r *Reader) Begin(seq uint64) error {
	h := *r.f.header
	h.First = seq
	r.rest = &h
	return r.Seek(seq)
}

// Footer returns the footer, which may only be read, and false if the segment is not sealed or the footer is damaged.
func (r *Reader) Footer() (*Footer, bool) { return r.f.footer, r.f.footer != nil }

// HeaderBytes returns the header as it is in the file, without its padding: DecodeHeader decodes it. It is nil if
// the header is the one of ReadOptions.
func (r *Reader) HeaderBytes() []byte { return r.f.rawHeader }

// FooterBytes returns the payload of the footer block, for DecodeFooter, and nil if Footer returns false.
func (r *Reader) FooterBytes() []byte { return r.f.rawFooter }

// Seek makes Next continue with the record of the given sequence number, or with the first one after it if there is none.
// In a sealed segment it has to read at most 64 KiB and a block; without a footer, everything before the record.
func (r *Reader) Seek(seq uint64) error {
	f := r.f
	r.from = seq
	switch {
	case f.footer != nil:
		f.rewind(int64(f.header.Len), f.header.First)
		// The last block in the index that begins at or before seq.
		i, _ := slices.BinarySearchFunc(f.footer.Index, seq, func(e IndexEntry, seq uint64) int {
			if e.First <= seq {
				return -1
			}
			return 1
		})
		if i > 0 {
			f.pos, f.seq = int64(f.footer.Index[i-1].Offset), f.footer.Index[i-1].First
		}
	case seq < r.seq:
		f.rewind(int64(f.header.Len), f.header.First)
	default:
		return nil // seq is ahead: Next skips the records in between
	}
	r.block, r.seq = nil, f.seq
	return nil
}

// Next returns the next record and its sequence number. rec.Data may be used only until the next call, rec.Attrs
// also afterwards.
//
// The error is io.EOF at the end, and a *DamageError once for each damaged stretch: the next call continues after the
// stretch. Any other error is a failed read; the next call retries it.
func (r *Reader) Next() (seq uint64, rec Record, err error) {
	for {
		for len(r.block) > 0 {
			seq = r.seq
			r.seq++
			if r.block[3] >= kindAttrs {
				rec.Attrs, r.block = r.attrs.next(r.block)
			}
			r.block = takeRecord(r.block, &rec)
			if seq < r.from {
				rec = Record{}
				continue
			}
			return seq, rec, nil
		}
		if err := r.advance(); err != nil {
			return 0, Record{}, err
		}
	}
}

// advance makes the next block of records the current one.
func (r *Reader) advance() error {
	f := r.f
	if d := f.headless; d != nil {
		f.headless = nil
		return d
	}
	h, block, err := f.step()
	d, damaged := err.(*DamageError)
	switch {
	case damaged:
		r.seq = f.seq
		if d.Last < r.from && d.First < r.from {
			return nil // before the record passed to Seek
		}
		d.First = max(d.First, r.from)
		return d
	case err != nil:
		return err
	case h.Type == RecordBlock && h.First+uint64(h.Count) > r.from:
		r.seq, r.block = h.First, block[BlockHeaderSize:]
		r.attrs.reset()
	default:
		r.seq = f.seq
	}
	return nil
}
