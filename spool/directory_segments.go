package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// SegmentState is the state of a segment, as its files show it.
type SegmentState string

// The states of segments.
const (
	SegmentSealed     SegmentState = "sealed"
	SegmentActive     SegmentState = "active"     // the newest one: a process writes to it, or the next one will
	SegmentUnsealed   SegmentState = "unsealed"   // not the newest, and without a footer, or with a damaged one
	SegmentStaged     SegmentState = "staged"     // only its staged file is left
	SegmentBlank      SegmentState = "blank"      // prepared but not used yet, or its header was zeroed
	SegmentUnreadable SegmentState = "unreadable" // see SegmentFile.Problem
)

// SegmentFile describes one segment by its files, and by the segment after it, which shows where it ends.
type SegmentFile struct {
	// Segment is as it was when it was sealed, or staged. For an unsealed segment, Last, Records and Bytes are estimated without
	// reading it: lower bounds for the active segment, upper bounds for others. Damage in it shows only when it is read.
	Segment
	State SegmentState
	// Path is that of the segment's file, relative to the directory, "" if there is none; Object is that of its staged file.
	Path, Object string
	ObjectSize   int64
	Record       *StageRecord // of a segment that is only staged
	Problem      string       // why it is not what its name says

	d      *Directory
	header *segment.Header
	next   uint64 // the first sequence number of the segment after it, 0: not known
	aside  bool   // it is in damaged/
}

// ReadSegments reads header and footer of each segment in the directory, and the stage records of segments whose own file is
// gone. The list is in the order of their numbers, and includes segments that cannot be read. It leaves out segments that are
// deleted meanwhile.
func (d *Directory) ReadSegments() ([]*SegmentFile, error) { return d.readSegments(vfs.OS()) }

func (d *Directory) readSegments(fsys vfs.FS) ([]*SegmentFile, error) {
	byNumber := map[uint64]*SegmentFile{}
	var list []*SegmentFile
	for _, f := range d.Files {
		if f.Kind != "segment" {
			continue
		}
		s, err := d.readEnds(fsys, f)
		if err != nil {
			return nil, err
		}
		if s != nil {
			list = append(list, s)
			if s.State != SegmentBlank && s.State != SegmentUnreadable {
				byNumber[s.Number] = s
			}
		}
	}
	records := map[uint64]bool{}
	for _, f := range d.Files {
		s := byNumber[f.Segment]
		if s == nil && (f.Kind == "staged" || f.Kind == "stage-record" && f.Segment > d.covered()) {
			s = &SegmentFile{Segment: Segment{Number: f.Segment}, State: SegmentStaged, d: d}
			byNumber[f.Segment], list = s, append(list, s)
		}
		switch {
		case f.Kind == "stage-record":
			records[f.Segment] = true
		case f.Kind == "staged":
			s.Object, s.ObjectSize, s.Staged = f.Path, f.Size, true
		}
	}
	for _, s := range list {
		if s.State == SegmentStaged {
			s.readRecord(fsys, records[s.Number])
		}
	}
	slices.SortStableFunc(list, func(a, b *SegmentFile) int { return cmp.Compare(a.Number, b.Number) })
	d.conclude(list)
	return list, nil
}

// ReadDamaged is ReadSegments for the files in damaged/ that recovery could not use. The records that can be read in them are of this
// spool; the same segment may also be in the list of ReadSegments. A staged file without its stage record is listed with the range of
// all sequence numbers, and without its encoding.
func (d *Directory) ReadDamaged() ([]*SegmentFile, error) { return d.readDamaged(vfs.OS()) }

func (d *Directory) readDamaged(fsys vfs.FS) (list []*SegmentFile, err error) {
	for _, f := range d.Files {
		if f.Kind != "damaged" || f.Segment == 0 {
			continue
		}
		switch filepath.Ext(f.Path) {
		case segExt:
			s, err := d.readEnds(fsys, f)
			if err != nil {
				return nil, err
			}
			if s != nil && s.header != nil && s.State != SegmentUnreadable {
				s.aside = true
				list = append(list, s)
			}
		case objExt:
			s := &SegmentFile{Segment: Segment{Number: f.Segment}, State: SegmentStaged, Object: f.Path, ObjectSize: f.Size, d: d, aside: true}
			if !s.findRecord(fsys) {
				s.First, s.Last, s.Problem = 1, segment.Unbounded-1, "it has no stage record"
			}
			list = append(list, s)
		}
	}
	return list, nil
}

// findRecord looks in damaged/ for the stage record of a staged file.
func (s *SegmentFile) findRecord(fsys vfs.FS) bool {
	for _, f := range s.d.Files {
		if f.Kind != "damaged" || f.Segment != s.Number || filepath.Ext(f.Path) != recExt {
			continue
		}
		rec := new(StageRecord)
		err := loadState(fsys, filepath.Join(s.d.Dir, filepath.FromSlash(f.Path)), maxStageRecord, 1, rec)
		if err != nil || rec.Segment != s.Number || rec.Spool != s.d.Spool || rec.Class != s.d.Class {
			continue
		}
		if h, err := segment.DecodeHeader(rec.Header); err == nil {
			s.Segment, s.Record, s.header = sealedFromRecord(h, rec).Segment, rec, h
			return true
		}
	}
	return false
}

// readEnds reads header and footer of a segment's file; nil if it is gone.
func (d *Directory) readEnds(fsys vfs.FS, of DirectoryFile) (*SegmentFile, error) {
	s := &SegmentFile{Segment: Segment{Number: of.Segment, Size: of.Size}, State: SegmentUnreadable, Path: of.Path, d: d}
	f, err := fsys.Open(filepath.Join(d.Dir, of.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		s.Problem = err.Error()
		return s, nil
	}
	defer f.Close()
	r, err := segment.NewReader(f, of.Size, nil)
	if err != nil {
		return s, d.headless(f, s, err)
	}
	h := r.Header()
	s.header = h
	if footer, ok := r.Footer(); ok {
		s.Segment, s.State = entry(h, footer, nil, of.Size).Segment, SegmentSealed
	} else {
		s.Segment = Segment{Number: h.Segment, Epoch: h.Epoch, First: h.First, Created: h.Created, Size: of.Size}
		s.State = SegmentUnsealed
	}
	switch {
	case d.Spool != "" && (h.Spool != d.Spool || h.Class != d.Class):
		s.Number, s.State = of.Segment, SegmentUnreadable
		s.Problem = fmt.Sprintf("it is of class %s of spool %s", h.Class, h.Spool)
	case h.Segment != of.Segment:
		s.Problem = fmt.Sprintf("it is segment %d, under the name of segment %d", h.Segment, of.Segment)
	}
	return s, nil
}

// headless fills in what can be known of a file whose header cannot be read.
func (d *Directory) headless(f vfs.File, s *SegmentFile, err error) error {
	s.Problem = err.Error()
	if errors.Is(err, segment.ErrVersion) {
		return nil
	}
	b := make([]byte, headerPad)
	n, rerr := f.ReadAt(b, 0)
	switch {
	case rerr != nil && rerr != io.EOF:
		s.Problem = rerr.Error()
		return nil
	case allZero(b[:n]):
		s.State, s.Problem = SegmentBlank, ""
	}
	for _, h := range d.guesses(b[:n], s.Number, s.State == SegmentBlank) {
		res, err := segment.Scan(f, s.Size, &segment.ReadOptions{Header: h})
		if err == nil && res.End > int64(h.Len) {
			s.header, s.State, s.Problem = h, SegmentUnsealed, "its header is damaged"
			s.First, s.Created, s.Epoch = h.First, h.Created, h.Epoch
			return nil
		}
	}
	return nil
}

// guesses returns possible headers of a segment whose own header cannot be read.
func (d *Directory) guesses(b []byte, n uint64, blank bool) (list []*segment.Header) {
	if w := d.notes.begun; w != nil && w.Segment == n {
		list = append(list, w.header(d.Class))
	}
	if blank || whole(b) {
		return list
	}
	if h := guessHeader(b, n, &identity{Spool: d.Spool, Class: d.Class, Instance: d.Instance}); h != nil {
		list = append(list, h)
	}
	return list
}

// readRecord reads the stage record of a segment whose own file is gone.
func (s *SegmentFile) readRecord(fsys vfs.FS, there bool) {
	if !there {
		s.State, s.Problem = SegmentUnreadable, "it has neither a stage record nor a segment file"
		return
	}
	rec, err := s.d.stageRecord(fsys, s.Number)
	var h *segment.Header
	if err == nil {
		h, err = segment.DecodeHeader(rec.Header)
	}
	if err != nil {
		s.State, s.Problem = SegmentUnreadable, err.Error()
		return
	}
	s.Segment, s.Record, s.header = sealedFromRecord(h, rec).Segment, rec, h
	if s.Staged = s.Object != ""; !s.Staged {
		s.Problem = "its staged file is gone; a destination may have it"
	} else if s.ObjectSize != rec.Size {
		s.Problem = fmt.Sprintf("the staged file has %d bytes, and its record says %d", s.ObjectSize, rec.Size)
	}
}

// covered returns the last segment that every destination has.
func (d *Directory) covered() uint64 {
	least := ^uint64(0)
	for _, x := range d.Destinations {
		if !x.Forgotten {
			least = min(least, x.Chain.Segment)
		}
	}
	if least == ^uint64(0) {
		return 0
	}
	return least
}

// StageRecord reads the stage record of a segment. fs.ErrNotExist: there is none. ErrCorrupt: it is damaged, or belongs to another
// segment.
func (d *Directory) StageRecord(number uint64) (*StageRecord, error) {
	return d.stageRecord(vfs.OS(), number)
}

func (d *Directory) stageRecord(fsys vfs.FS, number uint64) (*StageRecord, error) {
	if err := d.through(stageDir); err != nil {
		return nil, err
	}
	at := newSite(nil, d.Dir, fsys, Options{Class: d.Class})
	at.id = &identity{Spool: d.Spool, Class: d.Class}
	return at.stageRecord(number)
}

// conclude determines where the unsealed segments end.
func (d *Directory) conclude(list []*SegmentFile) {
	first := uint64(0) // of the segment after
	for _, s := range slices.Backward(list) {
		if s.header == nil {
			continue
		}
		if s.State == SegmentUnsealed && s.Path != "" {
			s.end(first)
		}
		first = s.First
	}
}

// end sets where an unsealed segment ends. next is the first sequence number of the segment after it, 0 if there is none.
func (s *SegmentFile) end(next uint64) {
	s.next, s.Last = next, s.First-1
	if next == 0 {
		s.State, next = SegmentActive, max(s.First, s.d.Next)
	}
	if next > s.First {
		s.Last = next - 1
	}
	s.Records = s.Last + 1 - s.First
	if b := s.d.notes.begun; b != nil && b.Segment == s.Number {
		s.Bytes = b.Bytes - min(b.Bytes, s.header.Ledger.Kept.Bytes)
	}
}

// SegmentReader reads the records of a segment's file.
type SegmentReader struct {
	*segment.Reader
	f io.Closer
}

// Close closes the file.
func (r *SegmentReader) Close() error { return r.f.Close() }

// Open opens the segment's file for reading. It uses everything that is known about the end of the segment, so the reader reports
// missing records as recovery would. A segment that a process is writing ends at the last block written so far. fs.ErrNotExist:
// there is only a staged file, or the file has been deleted.
func (s *SegmentFile) Open() (*SegmentReader, error) { return s.open(vfs.OS()) }

func (s *SegmentFile) open(fsys vfs.FS) (*SegmentReader, error) {
	path := filepath.Join(s.d.Dir, filepath.FromSlash(s.Path))
	if s.Path == "" {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	size, err := f.Size()
	if err == nil {
		var o segment.ReadOptions
		if o, err = s.options(f, size); err == nil {
			var r *segment.Reader
			if r, err = segment.NewReader(f, size, &o); err == nil {
				return &SegmentReader{r, f}, nil
			}
		}
	}
	return nil, fmt.Errorf("spool: %s: %w", path, errors.Join(err, f.Close()))
}

// options returns the options for reading the segment's file.
func (s *SegmentFile) options(f io.ReaderAt, size int64) (o segment.ReadOptions, err error) {
	if s.header != nil && s.State != SegmentSealed {
		o.Header = s.header // only if the file's own is damaged
	}
	switch {
	case s.aside:
		o.Durable = size // every invalid stretch in it is damage: the reader continues after it
		return o, nil
	case s.State != SegmentActive:
		o.Next = s.next
		return o, nil
	case s.d.Open:
		o.Growing = true
		return o, nil
	}
	if b := s.d.notes.begun; b != nil && b.Segment == s.Number && b.Generation == s.header.Generation {
		o.Durable = b.End
	}
	if c := s.d.notes.clean; c != nil && c.Segment == s.Number {
		o.Durable, o.Next = c.End, c.Next
	}
	res, err := segment.Scan(f, size, &o)
	if err == nil && res.Next < s.d.Next {
		o.Next = s.d.Next // records that were delivered, or noted in another file, cannot be missing because of a torn tail
	}
	return o, err
}

// Verify reads all of the segment's file, and returns the damage in it. The torn tail of an active segment is not damage. The error
// says what else is wrong with the file, or why it cannot be read.
func (s *SegmentFile) Verify() (damage []*segment.DamageError, err error) { return s.verify(vfs.OS()) }

func (s *SegmentFile) verify(fsys vfs.FS) (damage []*segment.DamageError, err error) {
	r, err := s.open(fsys)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		_, _, err := r.Next()
		d, damaged := errors.AsType[*segment.DamageError](err)
		switch {
		case err == io.EOF:
			return damage, s.compare(fsys, len(damage) > 0)
		case damaged:
			damage = append(damage, d)
		case err != nil:
			return damage, err
		}
	}
}

// compare compares a sealed segment with its footer. It does nothing for a damaged one, which cannot match.
func (s *SegmentFile) compare(fsys vfs.FS, damaged bool) error {
	if s.State != SegmentSealed || damaged {
		return nil
	}
	f, err := fsys.Open(filepath.Join(s.d.Dir, filepath.FromSlash(s.Path)))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	return segment.Verify(f, size)
}
