package spool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// ErrPlan is returned by RepairPlan.Apply if the files have changed since, and it would no longer do what the plan says.
var ErrPlan = errors.New("spool: the repair would not be the one that was planned")

// RepairOptions configure PlanRepair. The zero value suits a spool whose files name its identity.
type RepairOptions struct {
	// Identity is a copy of spool.json, for a directory whose files name no spool, or different ones. No segment may contradict it.
	// If other files name a spool, at least one of them must agree with it.
	Identity []byte
	// Class and Destinations of the spool, for a directory whose files name neither.
	Class        string
	Destinations []string

	// NoLock makes a plan without the lock, only to be read: Apply refuses it. If a process opens the spool meanwhile, it is useless.
	NoLock bool

	Logger *slog.Logger // gets what Apply does; nil discards
}

// RepairPlan says what must be changed in a spool's directory before Open accepts it, and what Open would then find and do.
type RepairPlan struct {
	Dir   string `json:"dir"`
	Spool string `json:"spool,omitempty"`
	Class string `json:"class,omitempty"`
	// Findings are the warnings and errors that Open would log, in its order.
	Findings []Finding `json:"findings"`
	// Changes is everything that Apply does: first the cures for refusals of Open, in their order, then the changes by Open.
	Changes []Change `json:"changes"`
	// Damages is the damage on record after the repair, including that recorded before.
	Damages []Damage `json:"damages,omitempty"`
	// Records is how many records the spool holds after the repair.
	Records uint64 `json:"records"`
	// Refused is why Open would refuse the spool even after the cures; Apply then does nothing. Empty if Open would not refuse it.
	Refused string `json:"refused,omitempty"`
	// ID identifies the plan's changes: Apply refuses to make others.
	ID string `json:"id"`

	repairer
}

// Finding is something that Open would log as a warning or an error.
type Finding struct {
	Level slog.Level `json:"level"`
	Text  string     `json:"text"`
}

// Needed reports whether there is anything to repair, beyond the changes that every start of a process makes.
func (p *RepairPlan) Needed() bool {
	return p.Refused != "" || slices.ContainsFunc(p.Changes, func(x Change) bool { return !x.Routine })
}

// PlanRepair finds out what Open would do in the directory of a spool, and changes nothing there. It runs Open itself, on a
// view of the directory whose changes stay in memory. If Open refuses the spool, and its message tells the operator to do something
// that loses nothing, PlanRepair does that in the view, and tries Open again.
//
// ErrLocked: a process on this host has the spool open. fs.ErrNotExist: dir holds no spool. While PlanRepair runs without NoLock,
// no process can open the spool.
func PlanRepair(dir string, o *RepairOptions) (*RepairPlan, error) {
	return planRepair(repairer{dir: dir, fs: vfs.OS(), look: index.Preview, open: index.Open}, o)
}

// repairer has everything that is needed to make a plan, and to make it again.
type repairer struct {
	dir  string
	fs   vfs.FS
	look index.OpenFunc // reads the index without changing it
	open index.OpenFunc
	o    RepairOptions
	// cures are the answers to the refusals of Open.
	cures []*cure
	// sound: spool.json was readable before the repair.
	sound bool
}

func planRepair(r repairer, o *RepairOptions) (*RepairPlan, error) {
	if err := checkDir("PlanRepair", r.dir); err != nil {
		return nil, err
	}
	if o != nil {
		r.o = *o
	}
	if r.o.NoLock {
		return r.plan()
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	p, err := r.plan()
	return p, errors.Join(err, unlock())
}

// lock prevents the processes of this host from opening the spool.
func (r *repairer) lock() (unlock func() error, err error) {
	_, err1 := r.fs.Stat(filepath.Join(r.dir, segDir))
	_, err2 := r.fs.Stat(filepath.Join(r.dir, identityName))
	if err1 != nil && err2 != nil {
		return nil, fmt.Errorf("spool: %s holds no spool: %w", r.dir, err1)
	}
	lock, err := r.fs.Lock(filepath.Join(r.dir, lockName), "")
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, fs.ErrNotExist): // on a system that cannot lock the directory instead of the missing file
		return func() error { return nil }, nil
	case err != nil:
		return nil, fmt.Errorf("spool: %w", err)
	}
	return lock.Close, nil
}

// maxCures is the maximum number of cures for refusals: each is followed by another attempt to open the spool.
const maxCures = 64

// plan makes a plan. The spool is locked.
func (r repairer) plan() (*RepairPlan, error) {
	_, err := readIdentity(r.fs, r.dir)
	r.cures, r.sound = nil, err == nil
	obstacles, err := r.obstacles()
	if err != nil {
		return nil, err
	}
	r.cures = obstacles
	for {
		p, refused, err := r.attempt()
		if err != nil {
			return nil, err
		}
		if refused == nil {
			return p, nil
		}
		c := r.cureFor(refused)
		if c == nil || len(r.cures) >= maxCures+len(obstacles) {
			p.Refused = refused.Error()
			return p, nil
		}
		r.cures = append(r.cures, c)
	}
}

// attempt opens the spool on a view of its directory. refused is why Open refuses it.
func (r repairer) attempt() (_ *RepairPlan, refused, err error) {
	p := &RepairPlan{Dir: r.dir, Findings: []Finding{}, Changes: []Change{}, repairer: r}
	view := vfs.Preview(r.fs, r.dir)
	if err := view.MkdirAll(r.dir); err != nil {
		return nil, nil, err
	}
	for _, c := range r.cures {
		if err := c.show(view); err != nil {
			return nil, nil, err
		}
		p.Changes = append(p.Changes, c.Change)
	}
	p.Changes = append(p.Changes, r.badIndex(view)...)
	noted := noteChanges(view, r.fs, r.dir)
	log := &findings{}
	s, refused := r.openSpool(noted, r.look, slog.New(log))
	if refused == nil {
		p.describe(s)
		err = s.Close()
	}
	p.Findings = append(p.Findings, log.list...)
	p.Changes = append(p.Changes, r.judge(noted.list())...)
	if id, ierr := r.identity(view); ierr == nil {
		p.Spool, p.Class = id.Spool, id.Class
	}
	p.ID = p.hash()
	return p, refused, err
}

// judge marks a change of a readable spool.json as routine: the host or the place of the directory has changed.
func (r *repairer) judge(list []Change) []Change {
	for i := range list {
		if x := &list[i]; x.Path == identityName && r.sound {
			x.Why, x.Routine = "a start begins the next epoch, because the host or the place of the directory has changed", true
		}
	}
	return list
}

// describe adds the records and the damage of an open spool to the plan.
func (p *RepairPlan) describe(s *Spool) {
	for _, seg := range s.shelf.Sealed(0, 0) {
		p.Records += seg.Records
	}
	if a := s.journal.active; a != nil {
		p.Records += s.journal.taken + 1 - a.header.First
	}
	p.Damages = s.damages.list()
}

// openSpool opens the spool as its last owner would, so that no new epoch begins because of the repair.
func (r *repairer) openSpool(fsys vfs.FS, ix index.OpenFunc, log *slog.Logger) (*Spool, error) {
	id, err := r.identity(fsys)
	if err != nil {
		return nil, err
	}
	o := &Options{
		Class: id.Class, Instance: id.Instance, Destinations: id.known(nil), SegmentBytes: r.segmentBytes(fsys), MaxBytes: repairQuota,
		MemoryBytes: minMemoryBytes, Logger: log,
	}
	if len(o.Destinations) == 0 {
		o.Destinations = r.o.Destinations
	}
	return openStill(nil, r.dir, fsys, ix, o)
}

// repairQuota is more than any spool has.
const repairQuota = 1 << 60

// identity returns the identity that the files name.
func (r *repairer) identity(fsys vfs.FS) (*identity, error) {
	id, err := readIdentity(fsys, r.dir)
	if !isLost(err) {
		return id, err
	}
	found, serr := newSite(nil, r.dir, fsys, Options{Class: r.o.Class, Destinations: r.o.Destinations}).findIdentity()
	switch {
	case serr != nil:
		return nil, serr
	case found == nil:
		return nil, err
	}
	return found, nil
}

// segmentBytes returns the size at which this spool's segments are sealed, as far as files show it: with another size, Open would
// remove files of the pool, or seal a segment early.
func (r *repairer) segmentBytes(fsys vfs.FS) int64 {
	size := int64(64 << 20)
	if b, err := loadBegun(fsys, filepath.Join(r.dir, begunName), ""); err == nil && b != nil {
		size = b.Size
	}
	entries, _ := fsys.ReadDir(filepath.Join(r.dir, freeDir)) // if it cannot be read, size stays as it is
	for _, e := range entries {
		if fi, err := fsys.Stat(filepath.Join(r.dir, freeDir, e.Name())); err == nil {
			size = max(size, (fi.Size()+1)/2)
		}
	}
	return min(max(size, minSegmentBytes), maxSegmentBytes)
}

// badIndex returns the replacement of an index that cannot be used, as a list of changes.
func (r *repairer) badIndex(fsys vfs.FS) []Change {
	err := index.Check(fsys, r.dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, statefile.ErrNewer) {
		return nil
	}
	fi, serr := fsys.Stat(filepath.Join(r.dir, index.FileName))
	if serr != nil {
		return nil
	}
	return []Change{{What: "replace", Path: index.FileName, Size: fi.Size(), Why: "it is made again from the segments: " + err.Error()}}
}

// timeless removes the time from the name of a file that is set aside: the same plan, made later, has another time. See asidePath.
func timeless(name string) string {
	const form = "-20060102T150405.000000"
	ext := filepath.Ext(name)
	base := strings.TrimSuffix(name, ext)
	if at := len(base) - len(form); at > 0 {
		if _, err := time.Parse(form, base[at:]); err == nil {
			return base[:at] + ext
		}
	}
	return name
}

// hash returns an ID that is the same for the same changes of the same files.
func (p *RepairPlan) hash() string {
	list := slices.Clone(p.Changes)
	for i := range list {
		list[i].To = timeless(list[i].To)
	}
	b, _ := json.Marshal(list) // strings and numbers: it cannot fail
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// findings is a slog.Handler that keeps warnings and errors.
type findings struct {
	mu   sync.Mutex
	list []Finding
}

// maxFindings limits the list, for a spool of a hundred thousand damaged segments.
const maxFindings = 10_000

// Enabled implements slog.Handler.
func (f *findings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (f *findings) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(r.Message, "spool: "))
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "class" && a.Key != "dir" {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value.Resolve())
		}
		return true
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) < maxFindings {
		f.list = append(f.list, Finding{r.Level, b.String()})
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (f *findings) WithAttrs([]slog.Attr) slog.Handler { return f }

// WithGroup implements slog.Handler.
func (f *findings) WithGroup(string) slog.Handler { return f }
