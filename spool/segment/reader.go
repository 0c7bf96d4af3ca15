package segment

import (
	"io"
	"slices"
)

// ReadOptions say what the caller knows about a segment beyond its bytes. The zero value suits a file that no process writes
// to.
type ReadOptions struct {
	// End, if not 0, bounds what is read in an active segment: the writer's position. The reader does not look for a trailer.
	End int64
	// Durable is an offset below which everything is known to have been on stable storage: what is invalid below it is
	// damage, not a torn tail. Marks in the file count without it. Give the file's size if the file is known to have
	// been sealed, or closed in order.
	Durable int64
	// Next, if not 0, is the sequence number after the segment's last record: the next segment's first. Blocks that go
	// beyond it do not count, since they were written again to the next segment after a failed write; and whatever is
	// missing below it is damage. An intact footer has it, and this is not looked at.
	Next uint64
	// Segment, if not 0, is the number that the header must have: a file that was renamed by mistake, or recycled by
	// halves, is refused.
	Segment uint64
	// Header, if not nil, is a copy from elsewhere (with its Len), which takes the place of the file's own header if that
	// is damaged. Without it the footer's copy does.
	Header *Header
	// Growing: a process writes to the file. The first block that is not valid yet ends the reading for now: Next returns
	// io.EOF, and looks again when it is called again. Damage and torn tails cannot be told from it; read the file without
	// Growing once it is sealed, or once a later segment has begun. The reader does not look for a trailer.
	Growing bool
	// SkipUnreadable turns what the disk refuses to return into damage. Without it a failed read is an error, after
	// which the same call may be tried again. Set it after enough attempts: what is reported as damage will
	// be written off.
	SkipUnreadable bool
}

// Reader streams the records of a segment, block by block, each block checked before its first record is returned. It
// reads through one buffer of 256 KiB, or of the largest block, and allocates nothing for a record. It is not safe for
// concurrent use; any number of Readers may share a file.
type Reader struct {
	f    *file
	rest *Header // what Begin makes of the header

	from  uint64 // records below it are skipped
	seq   uint64 // of the first record in block
	block []byte // the rest of the current block's payload
	attrs attrReader
}

// NewReader returns a Reader of the segment in the first size bytes of r. nil options suit a file that no process writes to.
//
// The error is ErrVersion for a segment of another version, and ErrCorrupt if the header is damaged and no footer has a
// copy of it. No other damage stops it: see Next.
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

// Begin makes the segment begin with the record of the given sequence number, for a caller that reads its Header and reads from
// there: what comes before is not read.
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

// FooterBytes returns the payload of the footer block, for DecodeFooter, and nil where Footer returns false.
func (r *Reader) FooterBytes() []byte { return r.f.rawFooter }

// Seek makes Next continue with the record of the given sequence number, or with the first one after it if there is none.
// In a sealed segment that costs reading at most 64 KiB and a block; in others, and without a footer, everything before.
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
		return nil // ahead: Next skips what is in between
	}
	r.block, r.seq = nil, f.seq
	return nil
}

// Next returns the next record and its sequence number. rec.Data may be used until the next call, rec.Attrs
// without end.
//
// The error is io.EOF at the end, and a *DamageError once for each damaged stretch: the next call continues after the
// stretch. Any other error is that of a read that failed; the next call retries it.
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
			return nil // before what Seek asked for
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
