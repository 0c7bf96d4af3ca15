package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/internal/vfs"
)

// Apply makes the plan again, refuses with ErrPlan if it is different now, and carries it out. Before Apply changes anything, it
// copies every file that the plan changes, replaces or removes to a new directory of the spool, kept. Files that are put aside are
// moved to the same directory. kept is "" if there was nothing to do. Afterwards the spool is as Open and Close leave it.
//
// Apply may be killed at any moment. The next plan then contains the remaining changes.
func (p *RepairPlan) Apply() (kept string, err error) {
	r := p.repairer
	if r.o.NoLock {
		return "", fmt.Errorf("%w: it was made without the lock (RepairOptions.NoLock)", ErrPlan)
	}
	unlock, err := r.lock()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	now, err := r.plan()
	switch {
	case err != nil:
		return "", err
	case now.ID != p.ID:
		return "", fmt.Errorf("%w: it is %s now, and was %s", ErrPlan, now.ID, p.ID)
	case now.Refused != "":
		return "", fmt.Errorf("spool: nothing was done, because Open would refuse the spool even then: %s", now.Refused)
	case !now.Needed():
		return "", nil
	}
	if kept, err = now.keep(); err != nil {
		if kept != "" {
			removeTree(now.fs, kept) // nothing was changed, so no copy is needed, and each attempt would leave more on a full disk
		}
		return "", fmt.Errorf("spool: nothing was changed, because what the repair replaces cannot be kept: %w", err)
	}
	for _, c := range now.cures {
		if err := c.do(kept); err != nil {
			return kept, fmt.Errorf("spool: repair %s: %w", c.Path, err)
		}
	}
	// Open takes the lock itself. If another process opens the spool first, it can, since all cures are done.
	if err := unlock(); err != nil {
		return kept, err
	}
	unlock = func() error { return nil }
	return kept, now.recover()
}

// recover opens and closes the spool, and compares the changes that this has made with the plan.
func (p *RepairPlan) recover() error {
	noted := noteChanges(p.fs, p.fs, p.dir)
	s, err := p.openSpool(noted, p.open, steadylog.Wrap(p.o.Logger))
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if did, planned := essence(p.judge(noted.list())), essence(p.Changes[len(p.cures):]); did != planned {
		return fmt.Errorf("%w: the spool is repaired, and these were the changes:\n%sinstead of\n%s", ErrPlan, did, planned)
	}
	return nil
}

// essence returns a text that is the same for two lists of the same changes. It leaves out routine changes, and the index, because
// bbolt writes to its file by itself.
func essence(list []Change) string {
	var b strings.Builder
	for _, x := range list {
		if !x.Routine && !strings.HasPrefix(x.Path, "index.") {
			fmt.Fprintln(&b, x.What, x.Path, timeless(x.To))
		}
	}
	return b.String()
}

// keptFile describes a copy in the directory of kept files.
type keptFile struct {
	Path   string `json:"path"` // there, and where it was in the spool
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// keptPlan is the file plan.json in that directory. It is written last: if it is missing, nothing was changed yet.
type keptPlan struct {
	Version int         `json:"version"` // 1
	Time    time.Time   `json:"time"`
	Plan    *RepairPlan `json:"plan"`
	Files   []keptFile  `json:"files"`
}

// keptPlanName is the name of that file.
const keptPlanName = "plan.json"

// keep copies the files whose contents the plan replaces or removes.
func (p *RepairPlan) keep() (dir string, err error) {
	files, need := p.toKeep()
	if _, free, err := p.fs.Space(p.dir); err == nil && free > 0 && need > free {
		return "", fmt.Errorf("the copies need %d bytes, and the disk has %d", need, free)
	}
	now := time.Now().UTC()
	dir = filepath.Join(p.dir, keptDir+now.Format("-20060102T150405Z"))
	for i := 2; ; i++ {
		if _, err := p.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		dir = filepath.Join(p.dir, keptDir+now.Format("-20060102T150405Z-")+strconv.Itoa(i))
	}
	if err := p.fs.MkdirAll(dir); err != nil {
		return dir, err
	}
	record := keptPlan{Version: 1, Time: now, Plan: p}
	for _, rel := range files {
		to := filepath.Join(dir, rel)
		if err := p.fs.MkdirAll(filepath.Dir(to)); err != nil {
			return dir, err
		}
		if err := p.copy(filepath.Join(p.dir, rel), to); err != nil {
			return dir, err
		}
		k := keptFile{Path: filepath.ToSlash(rel)}
		if k.Size, k.SHA256, err = p.digest(to); err != nil {
			return dir, err
		}
		if err := p.fs.SyncDir(filepath.Dir(to)); err != nil {
			return dir, err
		}
		record.Files = append(record.Files, k)
	}
	b, err := json.MarshalIndent(record, "", "  ")
	if err == nil {
		err = vfs.WriteFileAtomic(p.fs, filepath.Join(dir, keptPlanName), append(b, '\n'))
	}
	return dir, err
}

// toKeep lists the files whose contents the plan replaces or removes, and returns the sum of their sizes. Files that are moved to
// damaged/ stay there, and files that a cure puts aside are moved to kept.
func (p *RepairPlan) toKeep() (files []string, size int64) {
	for i, x := range p.Changes {
		rel := filepath.FromSlash(x.Path)
		fi, err := p.fs.Stat(filepath.Join(p.dir, rel))
		goes := x.What != "create" && x.What != "move" || x.What == "move" && (x.Written || strings.HasPrefix(x.To, freeDir+"/"))
		// A file that a cure replaces still exists under its other name, except spool.json, which has no other name.
		if err != nil || !fi.Mode().IsRegular() || !goes || x.Path == lockName || i < len(p.cures) && x.Path != identityName {
			continue
		}
		files, size = append(files, rel), size+fi.Size()
	}
	return files, size
}

// digest returns size and SHA-256 of a file.
func (r *repairer) digest(path string) (size int64, sum string, err error) {
	f, err := r.fs.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return 0, "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return 0, "", err
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}
