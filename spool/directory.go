package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// Directory describes the files in a spool's directory, each by itself. Inspect says what they mean together.
type Directory struct {
	Dir      string    `json:"dir"`
	Spool    string    `json:"spool"`
	Class    string    `json:"class"`
	Epoch    uint32    `json:"epoch"`
	Instance string    `json:"instance"`
	Created  time.Time `json:"created"`
	// Holder names the process that has the spool open, or that had it open when it died; otherwise it is empty. Open says whether
	// the system shows a process that holds the lock. A process in another container is not shown.
	Holder string `json:"holder,omitempty"`
	Open   bool   `json:"open"`
	// Clean: the last process closed the spool.
	Clean     bool      `json:"clean"`
	Frozen    string    `json:"frozen,omitempty"` // why nothing may be deleted
	Adopted   time.Time `json:"adopted,omitzero"` // when AdoptedBy had delivered everything
	AdoptedBy string    `json:"adopted_by,omitempty"`

	// Next is the sequence number after the last record that files other than segments name. If a process has the spool open, it may
	// have written more since.
	Next uint64 `json:"next"`
	// Newest is the number of the newest segment, 0 if that is not known.
	Newest uint64 `json:"newest,omitempty"`
	// Destinations by name. Their pending records are those up to Next. Bytes are 0 if they cannot be known without reading
	// segments.
	Destinations map[string]Inspected `json:"destinations"`
	// Damages is the recorded damage.
	Damages []Damage `json:"damages"`
	// Files of the directory, by path.
	Files []DirectoryFile `json:"files"`
	// Problems lists the files that cannot be used as their names say.
	Problems []Problem `json:"problems"`

	notes dirNotes
}

// findLinks looks for entries that have the name of one of the spool's directories but are something else, such as a symbolic link.
// On a volume from another host, a link could lead to files of this host. Nothing is read through them.
func (d *Directory) findLinks(at *site) error {
	entries, err := at.fs.ReadDir(d.Dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	d.notes.links = map[string]bool{}
	for _, e := range entries {
		if subdirs[e.Name()] && !e.IsDir() {
			d.notes.links[e.Name()] = true
			d.problem(e.Name(), fmt.Errorf("it is %s, and a spool has a directory of that name", describeType(e.Type())), false)
		}
	}
	return nil
}

// through returns why nothing may be read in one of the spool's directories, nil if it may.
func (d *Directory) through(dir string) error {
	if d.notes.links[dir] {
		return &fs.PathError{Op: "open", Path: filepath.Join(d.Dir, dir), Err: errNoDirectory}
	}
	return nil
}

var errNoDirectory = errors.New("not a directory, or a symbolic link")

// Problem says what is wrong with a file.
type Problem struct {
	Path string `json:"path"` // relative to the directory
	What string `json:"what"`
	// Harmless: the next process does not need the file, and loses nothing without it.
	Harmless bool `json:"harmless,omitempty"`
}

// dirNotes holds the small files that describe segments, and the names found by findLinks.
type dirNotes struct {
	begun *begun
	clean *cleanMark
	links map[string]bool // see findLinks
}

// ReadDirectory reads the files of the spool in dir, except segments and staged files. A process may have the spool open. It
// takes no lock, writes nothing, and does not touch the index. Problems lists the files that cannot be read.
//
// fs.ErrNotExist: dir holds no spool.
func ReadDirectory(dir string) (*Directory, error) { return readDirectory(vfs.OS(), dir) }

func readDirectory(fsys vfs.FS, dir string) (*Directory, error) {
	if err := checkDir("ReadDirectory", dir); err != nil {
		return nil, err
	}
	_, err1 := fsys.Stat(filepath.Join(dir, segDir))
	_, err2 := fsys.Stat(filepath.Join(dir, identityName))
	if err1 != nil && err2 != nil {
		return nil, fmt.Errorf("spool: %s holds no spool: %w", dir, err1)
	}
	d := &Directory{Dir: dir, Destinations: map[string]Inspected{}, Damages: []Damage{}, Problems: []Problem{}}
	at := newSite(nil, dir, fsys, (&Options{Class: "unknown"}).withDefaults())
	if err := d.findLinks(at); err != nil {
		return nil, err
	}
	if err := d.readIdentity(at); err != nil {
		return nil, err
	}
	d.readMarks(at)
	d.readChains(at) // before the files are listed: a segment that is delivered in between still counts as pending
	if err := d.list(at); err != nil {
		return nil, err
	}
	ds := &damages{site: at}
	if d.through(damagedDir) == nil {
		if err := ds.load(); err == nil {
			d.Damages = ds.list()
		} else if !errors.Is(err, fs.ErrNotExist) {
			d.problem(damagedDir, err, false)
		}
	}
	d.count()
	return d, nil
}

// problem notes what is wrong with a file.
func (d *Directory) problem(path string, err error, harmless bool) {
	d.Problems = append(d.Problems, Problem{filepath.ToSlash(path), err.Error(), harmless})
}

func (d *Directory) readIdentity(at *site) error {
	id, err := loadIdentity(at.fs, d.Dir)
	if err != nil {
		var found *identity
		var ferr error
		if len(d.notes.links) == 0 {
			found, ferr = at.namedIdentity()
		}
		d.problem(identityName, err, found != nil && !errors.Is(err, errOlder) && !errors.Is(err, statefile.ErrNewer))
		if id = found; ferr != nil || found == nil {
			id = &identity{Destinations: map[string]remembered{}}
		}
	}
	at.id, at.opts.Class = id, id.Class
	d.Spool, d.Class, d.Epoch, d.Instance, d.Created = id.Spool, id.Class, id.Epoch, id.Instance, id.Created
	path := filepath.Join(d.Dir, lockName)
	if b, err := vfs.ReadFile(at.fs, path, 1<<10); err == nil {
		d.Holder = strings.TrimSpace(string(b))
	}
	held, known := vfs.Held(path)
	d.Open = held || !known && d.Holder != ""
	return nil
}

// readMarks reads the small files other than the identity.
func (d *Directory) readMarks(at *site) {
	d.Next = 1
	m := new(cleanMark)
	switch err := loadState(at.fs, at.path(cleanName), segment.MaxHeader, 1, m); statefile.AnswerTo(err) {
	case statefile.Loaded:
		d.Clean, d.notes.clean, d.Next = true, m, max(d.Next, m.Next)
	case statefile.Damaged, statefile.Refused:
		d.problem(cleanName, err, true)
	}
	b, err := loadBegun(at.fs, at.path(begunName), "")
	switch {
	case err == nil && b != nil && (d.Spool == "" || b.Spool == d.Spool):
		d.notes.begun, d.Newest, d.Next = b, b.Segment, max(d.Next, b.Next)
	case err == nil && d.pages(at) > 0:
		d.problem(begunName, errors.New("no note of this spool's newest segment can be read in it"), true)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		d.problem(begunName, err, true)
	}
	life := new(lifeMark)
	if err := loadState(at.fs, at.path(lifeName), segment.MaxHeader, 1, life); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.problem(lifeName, err, true)
	}
	var l ledgerFile
	switch err := loadState(at.fs, at.path(ledgerName), segment.MaxHeader, 1, &l); statefile.AnswerTo(err) {
	case statefile.Loaded:
		d.Next = max(d.Next, l.Ledger.Kept.Records+1)
	case statefile.Damaged, statefile.Refused:
		d.problem(ledgerName, err, true)
	}
	d.Frozen = at.loadFrozen()
	a, err := loadAdoption(at.fs, d.Dir)
	if a != nil {
		d.Adopted, d.AdoptedBy = a.Time, a.Instance
	}
	if err != nil {
		d.problem(adoptedName, err, false)
	}
}

// pages returns the length of the file that notes the newest segment, 0 if it is blank or cannot be read.
func (d *Directory) pages(at *site) int64 {
	b, err := vfs.ReadFile(at.fs, at.path(begunName), 2*witnessPage)
	if err != nil || allZero(b) {
		return 0
	}
	return int64(len(b))
}

// readChains reads the states of the chains.
func (d *Directory) readChains(at *site) {
	for _, name := range slices.Sorted(maps.Keys(at.id.Destinations)) {
		x := Inspected{Forgotten: !at.id.Destinations[name].Forgotten.IsZero()}
		var dest *destination
		err := d.through(chainDir)
		if err == nil {
			dest, err = at.loadChain(name)
		}
		switch {
		case err == nil:
			x.Chain, x.Delivered = dest.chain, dest.delivered
			d.Next = max(d.Next, dest.chain.Through+1)
		case !x.Forgotten:
			d.problem(filepath.Join(chainDir, name+stateExt), err, true)
		}
		d.Destinations[name] = x
	}
}

// count counts the pending records of each destination.
func (d *Directory) count() {
	for name, x := range d.Destinations {
		if x.Forgotten {
			continue
		}
		x.Pending = segment.Tally{Records: d.Next - 1 - min(d.Next-1, x.Chain.Through)}
		for _, r := range d.lostAfter(x.Chain.Through) {
			x.Pending.Records -= min(x.Pending.Records, r.Last-r.First+1)
		}
		if b := d.notes.begun; b != nil && x.Chain.Joined <= 1 && x.Pending.Records > 0 {
			x.Pending.Bytes = b.Bytes - min(b.Bytes, x.Delivered.Bytes)
		}
		d.Destinations[name] = x
	}
}

// lostAfter returns the ranges of damaged records after the record through.
func (d *Directory) lostAfter(through uint64) (ranges []segment.Range) {
	for _, x := range d.Damages {
		ranges = append(ranges, from(through+1, x.Ranges)...)
	}
	return ranges
}

// CheckIndex reads the index as plain bytes and returns what is wrong with it; nil if it is sound or missing. It always returns nil if
// a process has the spool open, or if the last one did not close it.
func (d *Directory) CheckIndex() error {
	if d.Open || d.Holder != "" {
		return nil
	}
	if err := index.Check(vfs.OS(), d.Dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// OpenFile opens a file for reading, by its path in the directory. It follows no symbolic link, and never blocks.
func (d *Directory) OpenFile(path string) (*io.SectionReader, io.Closer, error) {
	if !filepath.IsLocal(filepath.FromSlash(path)) {
		return nil, nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	full := filepath.Join(d.Dir, filepath.FromSlash(path))
	for dir := filepath.Dir(filepath.Clean(filepath.FromSlash(path))); dir != "."; dir = filepath.Dir(dir) { // Open checks the last element
		if fi, err := os.Lstat(filepath.Join(d.Dir, dir)); err != nil || !fi.IsDir() {
			return nil, nil, &fs.PathError{Op: "open", Path: full, Err: cmp.Or(err, errNoDirectory)}
		}
	}
	f, err := vfs.OS().Open(full)
	if err != nil {
		return nil, nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return io.NewSectionReader(f, 0, size), f, nil
}
