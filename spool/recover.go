package spool

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// recovery finds out, from the files, which records the spool holds. It relies on these rules, which the writer keeps:
//
//   - A segment is begun only when all earlier segments are on stable storage. So in all segments but the newest,
//     missing blocks are damage; in the newest, blocks that are missing or invalid after the last mark of durability are a torn tail.
//   - A segment ends where the next one's first sequence number begins, even if its file holds more.
//   - A segment is deleted only after the chain states that cover it, those of all destinations, are durable.
type recovery struct {
	s       *Spool
	rebuild bool
	clean   *cleanMark // nil after an unclean end
	begun   *begun     // the note of the newest segment, which is outside of it; nil if there is none
	// wasSealed: the index lists the segment in begun as sealed, and so its last record is known.
	wasSealed bool
	newest    int64                 // the size of the file of the segment in begun, 0 if there is none
	vague     uint64                // bytes of records that may have been kept in it, and of which nothing else is known
	life      *lifeMark             // of the last process, nil if it left none
	ends      []segment.Unaccounted // that this process reports: see lifeMark.Ends
	saved     *segment.Ledger       // from ledger.json
	known     map[uint64]*sealed    // from the index
	parts     []*part               // segments by number
	changed   []*sealed             // index entries to write
	gone      []string              // index entries to delete
	least     uint64                // the log is known to hold all records below this sequence number
	absent    []*sealed             // the index lists them, and they have no file that can be used
	remains   map[uint64]bool       // segments, by number, with a file that cannot be used
	missing   uint64                // first sequence number of the absent segments that a destination lacks; 0: none
	last      *segment.ScanResult   // of the newest segment, if it is not sealed
	// blank lists files whose first page is zeros: spares or, if records are missing there, segments that have lost their header.
	blank []uint64
}

// part is a segment as recovery has found it.
type part struct {
	number uint64
	header *segment.Header // nil for sealed segments that the index lists
	size   int64
	sealed *sealed // nil if the segment must be scanned
	seal   int64   // length of footer and trailer, if they were read from the file; 0 if the index lists the segment
	// guessed: the header is not the one on the disk, see headless.
	guessed bool
}

// first returns the sequence number that the segment begins with.
func (p *part) first() uint64 {
	if p.sealed != nil {
		return p.sealed.First
	}
	return p.header.First
}

func (r *recovery) run() error {
	for _, step := range []func() error{
		r.readClean, r.readLife, r.readLedger, r.readBegun, r.openWitness, r.readIndex, r.checkClean, r.list, r.judgeChains, r.walk, r.spares, r.conclude,
		r.stages, r.pool, r.save,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("spool: recover: %w", err)
		}
	}
	return nil
}

// readClean reads the clean mark.
func (r *recovery) readClean() error {
	m := new(cleanMark)
	switch err := r.s.persistState(r.s.path(cleanName), segment.MaxHeader, 1, m); statefile.AnswerTo(err) {
	case statefile.Loaded:
		r.clean = m
	case statefile.Damaged:
		r.s.log.Warn("spool: cannot read the mark of the last orderly end; going on as after a sudden end, so the report names an upper bound of what may be lost: see what the disk reports", "class", r.s.opts.Class, "err", err)
	case statefile.Refused:
		return err
	}
	return nil
}

// checkClean ignores a clean mark that other files contradict: it is an older copy of the file that has come back. It would hide
// the records that a later kill has destroyed.
func (r *recovery) checkClean() error {
	m := r.clean
	if m == nil {
		return nil
	}
	later := r.begun != nil && r.begun.Next > m.Next
	for _, seg := range r.known {
		later = later || seg.Last >= m.Next
	}
	switch {
	case later:
		r.doubtClean("there are records after it")
	case r.life != nil && r.life.outlives(m) && !r.endedAsAdopter():
		r.doubtClean("a process has begun after it, and left the mark of a sudden end")
	}
	return nil
}

// endedAsAdopter reports whether the clean mark is an adopter's own. Then the life mark beside it is the last owner's.
func (r *recovery) endedAsAdopter() bool {
	if r.s.source == nil || r.s.dir == r.s.source.dir { // for Inspect, every mark is the source's
		return false
	}
	_, err := r.s.source.fs.Stat(r.s.path(cleanName)) // not in the source
	return err == nil
}

// doubtClean continues as after an unclean end. The records that were durable according to the clean mark must still be there.
func (r *recovery) doubtClean(why string) {
	r.s.log.Warn("spool: the mark of an orderly end is not that of the last process; going on as after a sudden end, so the report names an upper bound of what may be lost: find out whether files were restored or copied",
		"class", r.s.opts.Class, "next", r.clean.Next, "why", why)
	r.least = max(r.least, r.clean.Next)
	r.clean = nil
}

// readLedger reads the ledger that was saved before the last segment was deleted. It may be old; if there is none, it is empty.
func (r *recovery) readLedger() error {
	f, err := r.s.loadLedger()
	if err != nil {
		return err
	}
	r.saved, r.s.space.number = &f.Ledger, max(r.s.space.number, f.Segment)
	r.saved.Version = 1
	return nil
}

// readBegun reads the note of the newest segment. Without it, or with an older one, damage at the end of that segment may not show.
func (r *recovery) readBegun() error {
	s := r.s
	b, err := persist(s.patience, func(bool) (*begun, error) { return loadBegun(s.fs, s.path(begunName), s.id.Spool) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case statefile.AnswerTo(err) == statefile.Refused:
		return err
	case err != nil:
		s.log.Warn("spool: cannot read the note of the newest segment; records are kept all the same, but damage to the end of that segment may not show: see what the disk reports", "class", s.opts.Class, "err", err)
		return nil
	case b == nil:
		return nil
	}
	r.begun, s.space.number, r.least = b, max(s.space.number, b.Segment), max(r.least, b.Next)
	fi, err := s.fs.Stat(s.segPath(b.Segment))
	if err == nil {
		r.newest = fi.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openWitness continues with the note, before the segment that it describes is changed.
func (r *recovery) openWitness() error {
	if r.s.source != nil {
		return nil
	}
	return r.s.journal.openWitness(r.begun)
}

func (r *recovery) readIndex() error {
	if r.rebuild {
		return nil
	}
	return r.s.shelf.idx.Load(func(key string, value []byte) error {
		seg := new(sealed)
		if json.Unmarshal(value, seg) != nil || key != segKey(seg.Number) {
			r.gone = append(r.gone, key)
			return nil
		}
		r.known[seg.Number] = seg
		r.wasSealed = r.wasSealed || r.begun != nil && seg.Number == r.begun.Segment
		return nil
	})
}

// listSegments returns the numbers of the files there are, ascending.
func (s *site) listSegments() ([]uint64, error) { return listSegments(s.fs, s.dir) }

// listSegments returns the numbers of the segment files of the spool in dir, ascending.
func listSegments(fsys vfs.FS, dir string) ([]uint64, error) {
	entries, err := fsys.ReadDir(filepath.Join(dir, segDir))
	if err != nil {
		return nil, err
	}
	numbers := make([]uint64, 0, len(entries))
	for _, e := range entries {
		if n, ok := parseName(e.Name(), segExt); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// list examines every segment file. If the index lists the segment, it checks only the size, and after an orderly end not even that.
func (r *recovery) list() error {
	numbers, err := r.s.listSegments()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		r.s.space.number = max(r.s.space.number, n)
		seg := r.known[n]
		delete(r.known, n)
		if seg != nil && r.clean != nil && !seg.NoRaw {
			r.parts = append(r.parts, &part{number: n, size: seg.Size, sealed: seg})
			continue
		}
		fi, err := r.s.fs.Stat(r.s.segPath(n))
		if err != nil {
			return err
		}
		if seg != nil && seg.Size == fi.Size() {
			if seg.NoRaw { // the disk refused the deletion of this file, or a power cut has undone it
				seg.NoRaw = false
				r.changed = append(r.changed, seg)
			}
			r.parts = append(r.parts, &part{number: n, size: seg.Size, sealed: seg})
			continue
		}
		if seg != nil { // sealed, so everything in it was durable, but the file has changed
			r.least = max(r.least, seg.Last+1)
			r.absent = append(r.absent, seg)
			r.remains[n] = true
		}
		if err := r.inspect(n, fi.Size()); err != nil {
			return err
		}
	}
	if err := r.keepSeal(); err != nil {
		return err
	}
	return r.withoutRaw()
}

// inspect reads header and footer of a segment.
func (r *recovery) inspect(n uint64, size int64) error {
	s := r.s
	f, err := s.fs.Open(s.segPath(n))
	if err != nil {
		return err
	}
	defer f.Close()
	src, err := s.newReader(f, size, segment.ReadOptions{Segment: n})
	switch {
	case errors.Is(err, segment.ErrVersion): // another version's: refuse to open the spool, since this is not damage
		return fmt.Errorf("%s: %w", s.segPath(n), err)
	case errors.Is(err, segment.ErrCorrupt):
		m, _ := s.misnamed(n)
		switch done, err := s.shelf.unswap(n); {
		case err != nil:
			return err
		case done:
			return r.inspectAgain(n, m)
		}
		return r.headless(f, n, size)
	case err != nil:
		return err
	}
	h := src.Header()
	if h.Spool != s.id.Spool || h.Class != s.id.Class {
		s.log.Error("spool: moved a segment of another spool to damaged/, where it stays until you remove it: find out who has put it into this directory, since it may be the only copy of its records", "class", s.opts.Class, "segment", n, "spool", h.Spool)
		return r.setSegmentAside(n)
	}
	p := &part{number: n, header: h, size: size}
	r.parts = append(r.parts, p)
	footer, ok := src.Footer()
	if !ok {
		return nil
	}
	p.sealed, p.seal = entry(h, footer, nil, size), sealSize(src.FooterBytes())
	if footer.Records < footer.Next-footer.First { // damaged before it was sealed; only its blocks show where
		res, err := s.scan(f, size, segment.ReadOptions{Durable: size, Next: footer.Next, Segment: n})
		if err != nil {
			return err
		}
		p.sealed = entry(h, footer, res.Damage, size)
	}
	r.changed = append(r.changed, p.sealed)
	return nil
}

// inspectAgain inspects two segments after their names were exchanged back. The second may already be listed as blank.
func (r *recovery) inspectAgain(n, m uint64) error {
	again := []uint64{n}
	if i := slices.Index(r.blank, m); i >= 0 {
		r.blank = slices.Delete(r.blank, i, i+1)
		again = append(again, m)
	}
	for _, x := range again {
		fi, err := r.s.fs.Stat(r.s.segPath(x))
		if errors.Is(err, fs.ErrNotExist) { // no file had the other name, so it was not inspected yet
			delete(r.known, m)
			x = m
			fi, err = r.s.fs.Stat(r.s.segPath(x))
		}
		if err != nil {
			return err
		}
		if err := r.inspect(x, fi.Size()); err != nil {
			return err
		}
	}
	return nil
}

// setSegmentAside is setAside for the file of a segment. If records are missing there, the file may hold them.
func (r *recovery) setSegmentAside(n uint64) error {
	r.noteUnused(n)
	return r.s.setAside(segDir, numberName(n)+segExt)
}

// withoutRaw adds the segments of which only the staged file is left, and lists the index entries of deleted segments in r.gone.
func (r *recovery) withoutRaw() error {
	s := r.s
	entries, err := s.fs.ReadDir(s.path(stageDir))
	if err != nil {
		return err
	}
	have := make(map[uint64]bool, len(r.parts))
	for _, p := range r.parts {
		have[p.number] = true
	}
	covered := s.shelf.covered()
	for _, e := range entries {
		n, ok := parseName(e.Name(), recExt)
		if !ok || have[n] {
			continue
		}
		if n <= covered {
			// It is about to be deleted, unless it is kept for a verification that needs the staged file.
			if _, err := s.fs.Stat(s.objPath(n)); s.shelf.frozen == "" || err != nil {
				continue
			}
		}
		rec, err := persist(s.patience, func(bool) (*StageRecord, error) { return s.stageRecord(n) })
		var h *segment.Header
		if err == nil {
			h, err = segment.DecodeHeader(rec.Header)
		}
		if statefile.AnswerTo(err) == statefile.Refused || errors.Is(err, segment.ErrVersion) {
			return err
		}
		if err != nil {
			// The staged file may be all that is left of the records, and an operator may be able to decode it.
			s.log.Error("spool: cannot read the stage record of a segment without a raw file; moved both to damaged/, where they stay until you remove them: the staged file may be the only copy of its records", "class", s.opts.Class, "segment", n, "err", err)
			for _, ext := range []string{recExt, objExt} {
				err := s.setAside(stageDir, numberName(n)+ext)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				r.remains[n] = r.remains[n] || ext == objExt && err == nil // a deletion removes the staged file first
			}
			continue
		}
		seg := r.known[n]
		delete(r.known, n)
		if seg == nil || !seg.NoRaw {
			seg = sealedFromRecord(h, rec)
			r.changed = append(r.changed, seg)
		}
		r.parts = append(r.parts, &part{number: n, header: h, sealed: seg})
		s.space.number = max(s.space.number, n)
	}
	if err := r.withoutRecord(entries, have, covered); err != nil {
		return err
	}
	slices.SortFunc(r.parts, func(a, b *part) int { return cmp.Compare(a.number, b.number) })
	for n, seg := range r.known {
		r.gone = append(r.gone, segKey(n))
		s.space.number = max(s.space.number, n)
		if n > covered {
			r.least = max(r.least, seg.Last+1)
			r.absent = append(r.absent, seg)
		}
	}
	return nil
}

// withoutRecord sets aside staged files that have neither a stage record nor a segment file: they may be the only copy.
func (r *recovery) withoutRecord(entries []fs.DirEntry, have map[uint64]bool, covered uint64) error {
	for _, e := range entries {
		n, ok := parseName(e.Name(), objExt)
		if !ok || have[n] || n <= covered || slices.ContainsFunc(r.parts, func(p *part) bool { return p.number == n }) {
			continue
		}
		err := r.s.setAside(stageDir, e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was set aside together with its stage record
		}
		if err != nil {
			return err
		}
		r.remains[n] = true // as above
		r.s.log.Error("spool: moved a staged file that has neither a stage record nor a segment to damaged/, where it stays until you remove it: it may be the only copy of its records", "class", r.s.opts.Class, "segment", n)
	}
	return nil
}

// sealedFromRecord describes a segment by its stage record.
func sealedFromRecord(h *segment.Header, rec *StageRecord) *sealed {
	seg := &sealed{NoRaw: true, Segment: Segment{
		Number: rec.Segment, Epoch: rec.Epoch, First: rec.First, Last: rec.Last, Records: rec.Records, Bytes: rec.Bytes,
		Gaps: rec.Gaps, Created: h.Created, MinTime: rec.MinTime, MaxTime: rec.MaxTime,
	}}
	if f, err := segment.DecodeFooter(rec.Footer); err == nil {
		seg.account(&h.Ledger, &f.Ledger)
	}
	return seg
}
