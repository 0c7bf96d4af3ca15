package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// Inspection describes a spool's directory. Counts are those that Open would find.
type Inspection struct {
	Dir      string
	Spool    string
	Class    string
	Epoch    uint32
	Instance string    // the last owner
	Created  time.Time // of the spool
	// Holder names the process that has the spool open, or that had it when it died without closing it; otherwise it is empty.
	Holder string
	// Clean: the last process closed the spool. Otherwise the fields below may leave out a torn tail.
	Clean bool
	// Frozen is why nothing may be deleted (Shelf.Freeze), "" if the spool is not frozen.
	Frozen string
	// Adopted is when AdoptedBy had delivered everything; zero if the spool was not adopted.
	Adopted   time.Time
	AdoptedBy string

	// Segments in order, including the one that was active.
	Segments []Segment
	Records  uint64 // in Segments
	Bytes    uint64 // payload
	Size     int64  // of the files of Segments
	Next     uint64 // the sequence number after the last record
	Ledger   segment.Ledger
	// Damages is the recorded damage, and the damage that Open would find.
	Damages []Damage
	// Destinations by name, including those that were given up.
	Destinations map[string]Inspected
}

// Inspected is what a spool's directory says about a destination.
type Inspected struct {
	Chain     Chain         `json:"chain"`
	Delivered segment.Tally `json:"delivered"`
	Pending   segment.Tally `json:"pending"`
	Forgotten bool          `json:"forgotten,omitempty"` // given up by the operator
}

// Inspect describes the spool in dir as Adopt would find it, and changes nothing: not one byte is written, and the file
// system may be mounted read-only. It reads both ends of each segment, and all of the one that was active.
// Damage within sealed segments shows only when they are staged.
//
// fs.ErrNotExist: dir holds no spool. ErrLocked: a process on this host has it open; the Inspection then has only the fields of its
// identity, and the Holder.
func Inspect(dir string) (*Inspection, error) { return inspect(vfs.OS(), dir) }

func inspect(fsys vfs.FS, dir string) (*Inspection, error) {
	if err := checkDir("Inspect", dir); err != nil {
		return nil, err
	}
	src, lockErr := lockSource(fsys, dir)
	if lockErr != nil && !errors.Is(lockErr, ErrLocked) {
		return nil, lockErr
	}
	defer func() { _ = src.close() }()
	from := src
	if from == nil {
		from = &source{fs: fsys, dir: dir}
	}
	id, err := from.identity()
	if err != nil {
		return nil, errors.Join(lockErr, err)
	}
	in := &Inspection{
		Dir: dir, Spool: id.Spool, Class: id.Class, Epoch: id.Epoch, Instance: id.Instance, Created: id.Created,
		Destinations: map[string]Inspected{},
	}
	if b, err := vfs.ReadFile(fsys, filepath.Join(dir, lockName), 1<<10); err == nil {
		in.Holder = strings.TrimSpace(string(b))
	}
	if lockErr != nil {
		return in, lockErr
	}
	if err := in.look(fsys); err != nil {
		return in, err
	}
	return in, in.preview(fsys, id)
}

// look reads the marks of a clean end, of Freeze and of an adoption.
func (in *Inspection) look(fsys vfs.FS) error {
	_, err := fsys.Stat(filepath.Join(in.Dir, cleanName))
	if in.Clean = err == nil; err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	in.Frozen = newSite(nil, in.Dir, fsys, (&Options{Class: in.Class}).withDefaults()).loadFrozen()
	m, err := loadAdoption(fsys, in.Dir)
	if m != nil {
		in.Adopted, in.AdoptedBy = m.Time, m.Instance
	}
	return err
}

// preview opens the spool in memory, and fills in what it finds.
func (in *Inspection) preview(fsys vfs.FS, id *identity) error {
	o := (&Options{
		Class: id.Class, Instance: id.Instance, Destinations: id.known(nil), SegmentBytes: minSegmentBytes, MaxBytes: 1 << 60,
	}).withDefaults()
	none := func(vfs.FS, string, *slog.Logger) (index.Index, bool, error) { return index.None{}, true, nil }
	view := vfs.Preview(fsys, in.Dir)
	s, err := openFrom(&source{fs: view, dir: in.Dir}, in.Dir, view, none, &o)
	if err != nil {
		return err
	}
	in.Segments, in.Next, in.Ledger, in.Damages = s.shelf.Sealed(0, 0), s.journal.taken+1, s.Ledger(), s.damages.list()
	for i := range in.Segments {
		in.Records += in.Segments[i].Records
		in.Bytes += in.Segments[i].Bytes
		in.Size += in.Segments[i].Size
	}
	for _, name := range slices.Sorted(maps.Keys(s.shelf.dests)) {
		d := s.shelf.dests[name]
		in.Destinations[name] = Inspected{Chain: d.chain, Delivered: d.delivered, Pending: s.owed(d), Forgotten: d.forgotten}
	}
	return s.Close()
}
