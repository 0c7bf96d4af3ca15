//go:build linux || darwin

package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// linked makes a spool with a record, closes it, and returns its directory, and a file and a directory outside of it.
func linked(t *testing.T) (dir, file, folder string) {
	t.Helper()
	root := t.TempDir()
	dir, file, folder = filepath.Join(root, "spool"), filepath.Join(root, "precious"), filepath.Join(root, "folder")
	s, err := Open(dir, &Options{Class: "v", Destinations: []string{"d"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, file, folder
}

// untouched fails if anything outside of the spool was changed.
func untouched(t *testing.T, file, folder string) {
	t.Helper()
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("outside of the spool is %.40q, %v", b, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("outside of the spool: %v, %v", left, err)
	}
}

// TestDirectoryOfLinks: ReadDirectory reads nothing through a link in the place of one of the spool's directories, and says that it is
// there. Nor does OpenFile.
func TestDirectoryOfLinks(t *testing.T) {
	for _, name := range []string{segDir, stageDir, chainDir, freeDir, damagedDir} {
		dir, _, folder := linked(t)
		moved := filepath.Join(folder, name)
		if err := os.Rename(filepath.Join(dir, name), moved); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(moved, "x"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(moved, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDirectory(dir)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, p := range d.Problems {
			if p.Path == name && strings.Contains(p.What, "symbolic link") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%s: problems %+v", name, d.Problems)
		}
		for _, f := range d.Files {
			if strings.HasPrefix(f.Path, name+"/") {
				t.Errorf("%s is listed", f.Path)
			}
		}
		if c := d.Destinations["d"].Chain; (c.Epoch == 0) != (name == chainDir) {
			t.Errorf("%s: chain %+v", name, c)
		}
		if _, _, err := d.OpenFile(name + "/x"); err == nil {
			t.Errorf("%s/x is opened", name)
		}
		_, file, err := d.OpenFile("spool.json")
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
}

// TestLinksInSpool: neither Open nor an open spool changes anything through a link that has replaced one
// of its files or directories.
func TestLinksInSpool(t *testing.T) {
	for _, name := range []string{
		lockName, cleanName, lifeName, begunName, ledgerName, frozenName, "spool.json", index.FileName, index.MarkName, "seg/0000000000000001.seg",
		"seg/0000000000000002.seg", "stage/0000000000000001.obj", "chain/d.json", "chain/d.next", "free/0000000000000001",
		segDir, stageDir, chainDir, freeDir, damagedDir,
	} {
		t.Run("soft "+name, func(t *testing.T) {
			dir, file, folder := linked(t)
			path, to := filepath.Join(dir, name), file
			if fi, err := os.Stat(path); err == nil && fi.IsDir() {
				to = folder
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, &Options{Class: "v", Destinations: []string{"d"}})
			if err == nil {
				t.Error("opened")
				_, _ = s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}})
				_ = s.Close()
			} else if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "symbolic link") {
				t.Errorf("%v does not name the link", err)
			} else if !strings.Contains(err.Error(), "put that in its place") || !strings.Contains(err.Error(), "first mount the disk") {
				t.Errorf("%v advises to remove what can lead to the only copy", err)
			}
			untouched(t, file, folder)
		})
	}
	for _, name := range []string{lockName, begunName, index.FileName, "seg/0000000000000001.seg", "free/0000000000000001"} {
		t.Run("hard "+name, func(t *testing.T) {
			dir, file, folder := linked(t)
			path := filepath.Join(dir, name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(file, path); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, &Options{Class: "v", Destinations: []string{"d"}})
			if err == nil { // it makes what it can without the file
				if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}}); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			untouched(t, file, folder)
		})
	}
}

// TestGiveUpThroughLinks: neither GiveUp nor ReadDamages follows a link in the place of one of the spool's directories.
func TestGiveUpThroughLinks(t *testing.T) {
	for _, name := range []string{segDir, stageDir, chainDir, freeDir, damagedDir} {
		dir, file, folder := linked(t)
		path := filepath.Join(dir, name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(folder, path); err != nil {
			t.Fatal(err)
		}
		err := GiveUp(dir, 1, []segment.Range{{First: 1, Last: 1}})
		if err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: given up: %v", name, err)
		}
		if _, err = ReadDamages(dir); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: read: %v", name, err)
		}
		untouched(t, file, folder)
	}
}

// TestAdoptAgainThroughLink: a spool that was adopted before has a link in the place of one of its directories. The directory of that name
// that the adopter has made does not hide it.
func TestAdoptAgainThroughLink(t *testing.T) {
	dir, file, folder := linked(t)
	o := &AdoptOptions{Work: t.TempDir(), MaxBytes: 64 << 20}
	s, err := Adopt(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, damagedDir)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(folder, path); err != nil {
		t.Fatal(err)
	}
	if s, err = Adopt(dir, o); err == nil {
		_ = s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("%v does not name the link", err)
	}
	untouched(t, file, folder)
}

// TestLinkToSpool: the directory itself may be reached by a link.
func TestLinkToSpool(t *testing.T) {
	dir, _, _ := linked(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	s, err := Open(link, &Options{Class: "v", Destinations: []string{"d"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
