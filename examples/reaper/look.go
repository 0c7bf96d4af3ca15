package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/spool"
)

// spoolDepth is how many levels below its mount point the collector searches for spools: see its -adopt.
const spoolDepth = 3

// found is what is on a mounted volume.
type found struct {
	spools  []string // directories
	strange []string // files that belong to no spool, and may be the only copy of something
	entries uint64   // entries in all directories, not counting the root and lost+found
	closed  bool     // root's lost+found was not readable: only the number of inodes shows whether it is empty
}

// lostFound is the directory where fsck puts files without a name.
const lostFound = "lost+found"

// look walks the files of a volume. Any error ends the walk: a directory that cannot be read may hold anything.
func look(root string) (*found, error) {
	f := new(found)
	err := f.walk(root, root, 0)
	return f, err
}

func (f *found) walk(root, dir string, depth int) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) && dir == filepath.Join(root, lostFound) {
		f.closed = true
		return nil
	}
	if err != nil {
		return err
	}
	if depth <= spoolDepth && isSpool(entries) {
		f.spools = append(f.spools, dir)
		return f.walkSpool(dir)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if dir != root || e.Name() != lostFound {
			f.entries++
		}
		switch {
		case e.IsDir() && e.Name() == workDir && depth <= 1:
			if err := f.count(path); err != nil {
				return err
			}
		case e.IsDir():
			if err := f.walk(root, path, depth+1); err != nil {
				return err
			}
		default:
			if err := f.judge(path, e, isReport(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// workDir is where a collector keeps its own files of adoptions. Its contents come from other volumes, each of which is kept
// until it is itself proven to be delivered.
const workDir = "adopt-work"

// besideSpools are the files that the collector writes next to its spools: a drain's report and journal, and the notes of
// package asg about the instance. None of them contains records.
var besideSpools = []string{"report.json", "drain.json", "asg.json"}

// isReport reports whether a name is in besideSpools, or is that of a temporary file of one, such as report.json.1.tmp, which a
// kill may leave behind.
func isReport(name string) bool {
	return slices.ContainsFunc(besideSpools, func(own string) bool {
		return name == own || strings.HasPrefix(name, own+".") && strings.HasSuffix(name, ".tmp")
	})
}

// isSpool uses the collector's criterion.
func isSpool(entries []fs.DirEntry) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	return has("seg") && (has("spool.json") || has("stage"))
}

// walkSpool requires that every file below a spool's directory belongs to the spool, and that none is set aside for an
// operator.
func (f *found) walkSpool(dir string) error {
	d, err := spool.ReadDirectory(dir)
	if err != nil {
		return err
	}
	own := map[string]bool{}
	for _, x := range d.Files {
		switch x.Kind {
		case "damaged", "damage-note", "given-up", "kept", "unknown":
		default:
			own[filepath.Join(dir, filepath.FromSlash(x.Path))] = true
		}
	}
	for _, p := range d.Problems {
		if !p.Harmless {
			return fmt.Errorf("%s: %s: %s", dir, p.Path, p.What)
		}
	}
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		f.entries++
		return f.judge(path, e, own[path])
	})
}

// judge notes a file that has content and belongs to no spool.
func (f *found) judge(path string, e fs.DirEntry, known bool) error {
	if known || !e.Type().IsRegular() {
		return nil
	}
	fi, err := e.Info()
	if err == nil && fi.Size() > 0 {
		f.strange = append(f.strange, path)
	}
	return err
}

// count counts the entries below a directory.
func (f *found) count(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != dir {
			f.entries++
		}
		return err
	})
}

// below shortens a path for a note.
func below(root, path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, root), "/") }
