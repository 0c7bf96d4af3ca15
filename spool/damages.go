package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/fatal"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// Damage describes damaged records of one segment: they were durable once, and are no longer readable on this disk. It stays on
// record until the operator has given the records up, by removing or moving every file in Files, or with GiveUp.
type Damage struct {
	Segment uint64          `json:"segment"`
	Ranges  []segment.Range `json:"ranges"` // sequence numbers; none if the note of the damage is itself damaged
	Records uint64          `json:"records"`
	Bytes   uint64          `json:"bytes,omitempty"` // payload, as far as it is known
	// Files are the paths of the files that may hold remains of the records. None if nothing is left.
	Files []string  `json:"files,omitempty"`
	Found time.Time `json:"found"`
	Why   string    `json:"why"`
	// GivenUp: the operator has acknowledged it.
	GivenUp bool `json:"given_up,omitempty"`
}

// damageNote is the file of a Damage: damaged/<16 hex>.json. Files are named without their directory.
type damageNote struct {
	Version int    `json:"version"` // 1
	Class   string `json:"class"`
	Damage
}

// damages is the record of damage, by segment. A note is durable before the damage that it describes becomes a gap in an object
// or a manifest. It names every file of its segment in damaged/: see setAside.
//
// mu guards notes and held, and is held while the note of a damage is written.
type damages struct {
	*site
	space *space

	mu    fatal.Mutex
	notes map[uint64]*damageNote
	// acknowledged has the segments in which the operator had given up records before the spool was opened.
	acknowledged map[uint64]bool
	// held is the size of the files in damaged/ that the quota has counted.
	held int64
}

const (
	noteExt    = ".json"
	givenUpExt = ".given-up"
)

func (s *site) notePath(n uint64) string { return s.path(damagedDir, numberName(n)+noteExt) }

// load reads the notes, including those of an adopter's source.
func (d *damages) load() error {
	entries, err := d.fs.ReadDir(d.path(damagedDir))
	if err != nil {
		return err
	}
	d.notes, d.acknowledged = map[uint64]*damageNote{}, map[uint64]bool{}
	for _, e := range entries {
		if n, ok := parseName(e.Name(), givenUpExt); ok {
			d.acknowledged[n] = true
		}
		n, ok := parseName(e.Name(), noteExt)
		if !ok {
			continue
		}
		note := new(damageNote)
		err := d.persistState(d.notePath(n), maxStageRecord, 1, note)
		if statefile.AnswerTo(err) == statefile.Refused {
			return err
		}
		if err != nil || note.Segment != n {
			files, err := d.filesOf(n)
			if err != nil {
				return err
			}
			note = &damageNote{Version: 1, Class: d.opts.Class, Damage: Damage{Segment: n, Files: files, Why: unreadableNote}}
		}
		d.notes[n] = note
	}
	for _, x := range d.list() {
		if !x.GivenUp {
			d.log.Error("spool: the spool holds damaged records whose loss nobody has acknowledged; a drain is incomplete until then: examine the files, and give the records up (spool.GiveUp) when nothing can be restored", "class", d.opts.Class, "segment", x.Segment,
				"ranges", x.Ranges, "records", x.Records, "files", x.Files, "found", x.Found)
		}
	}
	return nil
}

// unreadableNote is the Why of a Damage whose note cannot be read. No file may be deleted: it may be the only copy of its records.
const unreadableNote = "the note of this damage cannot be read, so that nobody knows which records it concerns: to acknowledge it, copy what is " +
	"left of the segment elsewhere, and then move the note, the segment's .json file in damaged/, there too; delete none of them"

// filesOf names the files that may be left of a segment whose note cannot be read: its own file, and those in damaged/. All of them
// are kept, like those that a note names.
func (d *damages) filesOf(n uint64) ([]string, error) {
	names, err := d.asideOf(n, n)
	if err != nil {
		return nil, err
	}
	if name := numberName(n) + segExt; !slices.Contains(names, name) {
		if _, err := d.fs.Stat(d.segPath(n)); err == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// note records damage durably, and logs it. It does not log damage that is already recorded. files are the names, without their
// directories, of files that hold remains of the records, besides the files that were set aside.
func (d *damages) note(n uint64, ranges []segment.Range, bytes uint64, why string, files ...string) error {
	if len(ranges) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	note := &damageNote{Version: 1, Class: d.opts.Class, Damage: Damage{Segment: n, Found: time.Now().UTC(), Why: why}}
	if old := d.notes[n]; old != nil {
		*note = *old
		if note.Why == unreadableNote {
			note.Why, note.Found = why, time.Now().UTC() // the cause is known now
		}
	}
	aside, err := d.asideOf(n, n)
	if err != nil {
		return fmt.Errorf("spool: note the damage in segment %d: %w", n, err)
	}
	all := mergeRanges(append(slices.Clone(note.Ranges), ranges...))
	aside = filesNotIn(aside, note.Files)
	if slices.Equal(all, note.Ranges) && len(aside) == 0 {
		return nil
	}
	note.Ranges, note.Records = all, countRanges(all)
	note.Bytes = max(note.Bytes, bytes)
	note.Files = append(slices.Clone(note.Files), aside...)
	note.Files = append(note.Files, filesNotIn(files, note.Files)...)
	b, err := statefile.Seal(note)
	if err == nil {
		err = d.space.writeAtomic(d.notePath(n), b)
	}
	if err != nil {
		return fmt.Errorf("spool: note the damage in segment %d: %w", n, err)
	}
	if d.notes == nil {
		d.notes = map[uint64]*damageNote{}
	}
	d.notes[n] = note
	d.log.Error("spool: DAMAGE: records that were kept cannot be read any more; destinations get everything else, and a drain is incomplete until an operator has acknowledged it: keep the files, and check the disk", "class", d.opts.Class, "segment", n,
		"ranges", note.Ranges, "records", note.Records, "files", d.whereAre(note.Files), "why", why)
	return nil
}

// noted returns the highest segment number, at most upTo, whose note contains some of the lost records.
func (d *damages) noted(lost segment.Range, upTo uint64) (n uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for number, note := range d.notes {
		has := slices.ContainsFunc(note.Ranges, func(x segment.Range) bool { return x.First <= lost.Last && lost.First <= x.Last })
		if has && number <= upTo && number >= n {
			n, ok = number, true
		}
	}
	return n, ok
}

// list returns the recorded damage, by segment. Damage that the operator has given up is listed until its segment is deleted.
func (d *damages) list() []Damage {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Damage, 0, len(d.notes))
	for _, note := range d.notes {
		x := note.Damage
		x.Ranges, x.Files = slices.Clone(note.Ranges), d.whereAre(note.Files)
		x.GivenUp = d.isGivenUp(note)
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b Damage) int { return cmp.Compare(a.Segment, b.Segment) })
	return list
}

// open reports whether a segment has damage that has not been given up: then its files may be the only copy of its records.
func (d *damages) open(n uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	note := d.notes[n]
	return note != nil && !d.isGivenUp(note)
}

// named reports whether a file is named in the note of a segment's damage.
func (d *damages) named(n uint64, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.notes[n] != nil && slices.Contains(d.notes[n].Files, name)
}

// isOnRecord reports whether the recorded damage of a segment covers exactly these records.
func (d *damages) isOnRecord(n uint64, ranges []segment.Range) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.notes[n] != nil && slices.Equal(d.notes[n].Ranges, mergeRanges(ranges))
}

// whereAre returns the paths of the named files that are still in the spool, or in the source of an adopted spool.
func (s *site) whereAre(names []string) (paths []string) {
	root := s.dir
	if s.source != nil {
		root = s.source.dir // an adopter removes files only from its overlay, not from the source
	}
	dirs := []string{filepath.Join(root, damagedDir), filepath.Join(root, segDir), filepath.Join(root, stageDir)}
	if s.source != nil {
		dirs = append(dirs, s.path(damagedDir)) // the files that an adopter has made and set aside
	}
	for _, name := range names {
		for _, dir := range dirs {
			path := filepath.Join(dir, name)
			if _, err := s.baseFS().Stat(path); err == nil {
				paths = append(paths, path)
				break
			}
		}
	}
	return paths
}

// isGivenUp reports whether the operator has acknowledged a damage: by removing or moving every file, or the note itself, or
// by GiveUp for all of its records. d.mu is held.
func (d *damages) isGivenUp(note *damageNote) bool {
	if _, err := d.fs.Stat(d.notePath(note.Segment)); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if len(note.Files) > 0 && len(d.whereAre(note.Files)) == 0 {
		return true
	}
	if len(note.Ranges) == 0 {
		return false // it is not known which records are concerned
	}
	dirs := []string{d.dir}
	if d.source != nil {
		dirs = append(dirs, d.source.dir)
	}
	for _, dir := range dirs {
		g, err := loadGivenUp(d.baseFS(), dir, note.Segment)
		if err == nil && g.Spool == d.id.Spool && covers(g.within(note.Ranges), note.Ranges) {
			return true
		}
	}
	return false
}

// baseFS returns the file system without an adopter's overlay.
func (s *site) baseFS() vfs.FS {
	if s.source != nil {
		return s.source.fs
	}
	return s.fs
}

// keepAside moves a file that may be the only copy of some records to damaged/. There it stays, and counts against the quota, until
// the operator removes it. The note has been written.
func (d *damages) keepAside(dir, name string, size int64) error {
	if err := d.fs.Rename(d.path(dir, name), d.path(damagedDir, name)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held += size
	d.space.fix(size)
	return d.fs.SyncDir(d.path(damagedDir))
}

// keepDamaged is called when a segment is deleted. It keeps the segment's file if that may be the only copy of some records, and
// reports whether it does.
func (d *damages) keepDamaged(seg *sealed) bool {
	name := numberName(seg.Number) + segExt
	if !d.named(seg.Number, name) && !d.acknowledged[seg.Number] {
		if !d.open(seg.Number) {
			d.forget(seg.Number)
		}
		return false // nothing is damaged in it, or the damaged file was set aside before and replaced by an empty one
	}
	// Keep the file even if the operator has given up the damaged records: only the operator removes it.
	err := d.keepAside(segDir, name, seg.Size)
	switch {
	case errors.Is(err, fs.ErrNotExist): // removed already
		d.forget(seg.Number)
		return false
	case err != nil:
		d.log.Error("spool: cannot move a damaged file to damaged/, or make the move durable; keep the file at whichever of the two paths it is, because it may be the only copy of its records", "class", d.opts.Class,
			"from", d.segPath(seg.Number), "to", d.path(damagedDir, name), "err", err)
	}
	return true
}

// forget removes the record of a damage that was given up, when its segment is deleted.
func (d *damages) forget(n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.notes[n] == nil {
		return
	}
	for _, ext := range []string{noteExt, givenUpExt} {
		if err := d.fs.Remove(d.path(damagedDir, numberName(n)+ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("spool: cannot remove the note of damage that was given up; it stays listed, and nothing else is concerned", "class", d.opts.Class, "segment", n, "err", err)
			return
		}
	}
	delete(d.notes, n)
}

// weigh updates the quota with the size of the files in damaged/, since the operator may have removed some.
func (d *damages) weigh() {
	d.mu.Lock()
	was := d.held
	if was == 0 && len(d.notes) == 0 {
		d.mu.Unlock()
		return
	}
	d.held = d.size()
	now := d.held
	d.mu.Unlock()
	if now != was {
		d.space.fix(now - was)
		d.space.used(now - was)
	}
}

func (d *damages) size() (n int64) {
	entries, err := d.fs.ReadDir(d.path(damagedDir))
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), noteExt) || strings.HasSuffix(e.Name(), givenUpExt) {
			continue
		}
		if fi, err := d.fs.Stat(d.path(damagedDir, e.Name())); err == nil {
			n += fi.Size()
		}
	}
	return n
}

// logDamage logs damage. If no record was lost, the usual cause is that a crash interrupted the sealing of the segment.
func (s *site) logDamage(number uint64, damage []*segment.DamageError) {
	for _, d := range damage {
		level := slog.LevelInfo
		if _, lost := d.Range(); lost {
			level = slog.LevelError
		}
		s.log.Log(context.Background(), level, "spool: damage in a segment; records that it took are reported with their range: check the disk", "class", s.opts.Class, "segment", number, "err", d)
	}
}

// rangesOf returns the sequence numbers of the records lost by damage.
func rangesOf(damage []*segment.DamageError) (ranges []segment.Range) {
	for _, d := range damage {
		if r, ok := d.Range(); ok {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

func filesNotIn(names, list []string) (out []string) {
	for _, name := range names {
		if !slices.Contains(list, name) {
			out = append(out, name)
		}
	}
	return out
}

// mergeRanges sorts ranges and joins those that touch.
func mergeRanges(ranges []segment.Range) (out []segment.Range) {
	slices.SortFunc(ranges, func(a, b segment.Range) int { return cmp.Compare(a.First, b.First) })
	for _, r := range ranges {
		if k := len(out); k > 0 && r.First <= out[k-1].Last+1 {
			out[k-1].Last = max(out[k-1].Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

func countRanges(ranges []segment.Range) (n uint64) {
	for _, r := range ranges {
		n += r.Last - r.First + 1
	}
	return n
}

// covers reports whether every range of part is within one of whole, which is merged.
func covers(whole, part []segment.Range) bool {
	for _, p := range part {
		if !slices.ContainsFunc(whole, func(w segment.Range) bool { return w.First <= p.First && p.Last <= w.Last }) {
			return false
		}
	}
	return true
}
