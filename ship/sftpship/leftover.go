package sftpship

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/sftpc"
)

const (
	// A temporary file that has not been written for so long belongs to no running upload. If it did, publishing it would fail, and
	// the upload would be repeated.
	staleAfter  = time.Hour
	sweepEvery  = time.Hour
	sweepAtMost = 100

	// removeAtOnce bounds how many files of former uploads one upload removes; leftMost bounds how many are remembered.
	removeAtOnce = 16
	leftMost     = 4096
)

// leftovers are temporary files of this Destination whose removal the server has not confirmed, because the connection broke or the
// operation ran out of time. They certainly belong to this Destination, because their names begin with its own random name. So the
// next upload, at the latest the manifest that ends a drain, removes them, whatever their age. The files of a killed process cannot
// be attributed like that; sweep removes them by age.
type leftovers struct {
	mu    sync.Mutex
	files map[string]bool // true: an upload that is under way has it
}

// add notes a file of an upload that begins.
func (l *leftovers) add(file string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = make(map[string]bool)
	}
	l.files[file] = true
}

// remove forgets a file that is gone.
func (l *leftovers) remove(file string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.files, file)
}

// release makes a file that is still noted one that the next upload removes.
func (l *leftovers) release(files ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, file := range files {
		if _, ok := l.files[file]; ok {
			l.files[file] = false
		}
	}
	if len(l.files) > leftMost {
		clear(l.files) // sweep finds them
	}
}

// claim hands out files to be removed; they are under way until release or remove.
func (l *leftovers) claim(n int) (files []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for file, busy := range l.files {
		if len(files) == n {
			break
		}
		if !busy {
			l.files[file] = true
			files = append(files, file)
		}
	}
	return files
}

// gone reports whether the answer to a removal shows that the file is not there any more.
func (u *upload) gone(err error) bool { return err == nil || errors.Is(err, fs.ErrNotExist) }

// removal is a leftover whose removal was asked for.
type removal struct {
	file   string
	answer *sftpc.Pending[sftpc.Void]
}

// removeLeftovers asks for the removal of former uploads' files; removed awaits the answers.
func (u *upload) removeLeftovers() (asked []removal) {
	for _, file := range u.h.left.claim(removeAtOnce) {
		asked = append(asked, removal{file, u.Remove(file)})
	}
	return asked
}

func (u *upload) removed(asked []removal) {
	for _, r := range asked {
		if u.gone(r.answer.Err()) {
			u.h.left.remove(r.file)
		} else {
			u.h.left.release(r.file)
		}
	}
}

// sweep removes temporary files that interrupted uploads of this spool left behind, at most sweepAtMost every sweepEvery. Their age
// is measured by the server's clock, which has just set the time of our own file.
func (u *upload) sweep(ctx context.Context, dir string) {
	u.h.mu.Lock()
	due := time.Since(u.h.swept[dir]) >= sweepEvery
	if due {
		u.h.swept[dir] = time.Now()
	}
	u.h.mu.Unlock()
	if !due {
		return
	}
	var stale []sftpc.Name
	own := u.Stat(u.tmp)
	err := u.readDir(ctx, dir, func(f sftpc.Name) {
		// Only names such as this package gives: a person may have put something aside here.
		if (f.Kind() == sftpc.Regular || f.Kind() == sftpc.Unknown) && strings.HasSuffix(f.Name, tmpSuffix) && !f.MTime.IsZero() {
			stale = append(stale, f)
		}
	})
	now, serr := own.Wait()
	if first(err, serr) != nil {
		return
	}
	stale = slices.DeleteFunc(stale, func(f sftpc.Name) bool { return now.MTime.Sub(f.MTime) < staleAfter })
	var asked []*sftpc.Pending[sftpc.Void]
	for _, f := range stale[:min(len(stale), sweepAtMost)] {
		asked = append(asked, u.Remove(path.Join(dir, f.Name)))
	}
	removed := 0
	for _, p := range asked {
		if p.Err() == nil {
			removed++
		}
	}
	if removed > 0 {
		u.h.o.Logger.Info("sftpship: removed stale temporary files", "location", u.h.Location(), "dir", dir, "files", removed)
	}
}
