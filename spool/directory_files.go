package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// DirectoryFile is a file of a spool's directory.
type DirectoryFile struct {
	Path string `json:"path"` // relative to the directory
	// Kind is the kind of file by its name: one of FileKinds.
	Kind        string    `json:"kind"`
	Segment     uint64    `json:"segment,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Size        int64     `json:"size"`
	Time        time.Time `json:"time"` // of its last change
}

// FileKinds returns the kinds of files that a spool's directory has, in the order of their uses: files that hold records, files
// about their delivery, and all others.
func FileKinds() []string { return slices.Clone(fileKinds) }

var fileKinds = []string{
	"segment", "staged", "stage-record", "chain", "proposal", "identity", "newest", "ledger", "clean", "life", "lock", "frozen", "adopted",
	"index", "pool", "inode", "damaged", "damage-note", "given-up", "kept", "unfinished", "unknown",
}

// list lists the files. It leaves out a file that is deleted meanwhile.
func (d *Directory) list(at *site) error {
	for _, dir := range []string{"", segDir, stageDir, chainDir, freeDir, damagedDir} {
		if d.through(dir) != nil {
			continue
		}
		entries, err := at.fs.ReadDir(at.path(dir))
		if err != nil && dir == "" {
			return fmt.Errorf("spool: %w", err)
		}
		if err != nil {
			d.problem(dir, err, errors.Is(err, fs.ErrNotExist) && dir != segDir)
			continue
		}
		for _, e := range entries {
			if dir == "" && subdirs[e.Name()] {
				continue
			}
			fi, err := e.Info()
			if err != nil {
				continue
			}
			f := DirectoryFile{Path: filepath.ToSlash(filepath.Join(dir, e.Name())), Size: fi.Size(), Time: fi.ModTime()}
			f.Kind, f.Segment, f.Destination = kindOf(dir, e.Name())
			switch {
			case dir == "" && e.IsDir() && f.Kind == "kept":
				if err := d.listKept(at, e.Name()); err != nil {
					d.problem(f.Path, err, true)
				}
				continue
			case e.IsDir() && f.Kind == "unknown":
				continue
			case !fi.Mode().IsRegular():
				d.problem(f.Path, fmt.Errorf("it is %s, and a spool has only files here", describeType(fi.Mode())), false)
			case f.Kind == "unfinished" && !d.Open && at.isLastCopy(dir, e.Name()):
				d.problem(f.Path, errors.New("a copy of a segment whose own file was moved to damaged/: keep it, the next start uses it if it is finished"), false)
			case f.Kind == "unfinished" && !d.Open:
				d.problem(f.Path, errors.New("a process that died did not finish writing it"), true)
			}
			d.Files = append(d.Files, f)
		}
	}
	return nil
}

// isLastCopy reports whether a temporary file is the copy of a segment that has no other file: see finishReplaced.
func (s *site) isLastCopy(dir, name string) bool {
	n, ok := parseName(name, segExt+vfs.TempSuffix)
	if dir != segDir || !ok {
		return false
	}
	_, err := s.fs.Stat(s.segPath(n))
	return errors.Is(err, fs.ErrNotExist)
}

// listKept lists the files that a repair has kept. They are at most two directories deep.
func (d *Directory) listKept(at *site, name string) error {
	entries, err := at.fs.ReadDir(at.path(name))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(name, e.Name())
		if e.IsDir() && strings.Count(path, string(filepath.Separator)) < 2 {
			if err := d.listKept(at, path); err != nil {
				return err
			}
			continue
		}
		if fi, err := e.Info(); err == nil {
			d.Files = append(d.Files, DirectoryFile{Path: filepath.ToSlash(path), Kind: "kept", Size: fi.Size(), Time: fi.ModTime()})
		}
	}
	return nil
}

// describeType returns the type of a file in words.
func describeType(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsDir():
		return "a directory"
	case m.IsRegular():
		return "a file"
	}
	return "a special file"
}

// kindOf says what the name of a file means.
func kindOf(dir, name string) (kind string, number uint64, dest string) {
	if strings.HasSuffix(name, vfs.TempSuffix) {
		return "unfinished", 0, ""
	}
	switch dir {
	case "":
		return kindOfRoot(name), 0, ""
	case segDir:
		if n, ok := parseName(name, segExt); ok {
			return "segment", n, ""
		}
	case stageDir:
		if n, ok := parseName(name, objExt); ok {
			return "staged", n, ""
		}
		if n, ok := parseName(name, recExt); ok {
			return "stage-record", n, ""
		}
	case chainDir:
		if d, ok := strings.CutSuffix(name, stateExt); ok && segment.CheckDestination(d) == nil {
			return "chain", 0, d
		}
		if d, ok := strings.CutSuffix(name, nextExt); ok && segment.CheckDestination(d) == nil {
			return "proposal", 0, d
		}
	case freeDir:
		if strings.HasPrefix(name, inodePrefix) {
			return "inode", 0, ""
		}
		if n, ok := parseName(name, ""); ok {
			return "pool", n, ""
		}
	case damagedDir:
		if n, ok := parseName(name, noteExt); ok {
			return "damage-note", n, ""
		}
		if n, ok := parseName(name, givenUpExt); ok {
			return "given-up", n, ""
		}
		n, _ := parseName(name[:min(16, len(name))], "")
		return "damaged", n, ""
	}
	return "unknown", 0, ""
}

// kindOfRoot is kindOf for the spool's directory itself.
func kindOfRoot(name string) string {
	if kind, ok := map[string]string{
		identityName: "identity", lockName: "lock", cleanName: "clean", lifeName: "life", frozenName: "frozen", adoptedName: "adopted",
		begunName: "newest", ledgerName: "ledger", index.FileName: "index", index.MarkName: "index",
	}[name]; ok {
		return kind
	}
	switch {
	case strings.HasPrefix(name, index.FileName):
		return "index"
	case strings.HasPrefix(name, keptDir+"-"):
		return "kept"
	}
	return "unknown"
}
