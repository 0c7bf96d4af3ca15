package drain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// journal is the content of Dir/drain.json, the phase that a drain has reached. The file exists from the drain's first
// phase until its report is written, so that the next start knows of a killed drain.
type journal struct {
	Version int       `json:"version"`
	Phase   string    `json:"phase"`
	Trigger string    `json:"trigger"`
	Started time.Time `json:"started"`
}

// maxJournal bounds how much of the file is read: the trigger may come from a platform.
const maxJournal = 1 << 20

func journalPath(dir string) string { return filepath.Join(dir, "drain.json") }

func writeJournal(dir string, inodes *vfs.Reserve, j journal) error {
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return writeFile(inodes, journalPath(dir), append(b, '\n'))
}

// writeFile is a vfs.WriteFileAtomic that also works on a file system without a free inode: a drain without its report is
// incomplete.
func writeFile(inodes *vfs.Reserve, path string, data []byte) error {
	for {
		err := vfs.WriteFileAtomic(vfs.OS(), path, data)
		if err == nil {
			_ = inodes.Fill() // replacing the old file has freed an inode
		}
		if err == nil || !inodes.Give(err) {
			return err
		}
	}
}

func removeJournal(dir string) error {
	if err := vfs.OS().Remove(journalPath(dir)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return vfs.OS().SyncDir(dir)
}

// Interrupted reports whether a drain of an earlier process that used dir was cut off before its report was written,
// and what had triggered it. The new process should open no listener: it adds the classes without inputs and calls Resume.
// Run resumes such a drain, too, after the listeners were opened.
func Interrupted(dir string) (trigger string, yes bool, err error) {
	j, err := readJournal(dir)
	if err != nil || j == nil {
		return "", false, err
	}
	return j.Trigger, true, nil
}

// readJournal returns the journal of a drain in dir, nil if there is none.
func readJournal(dir string) (*journal, error) {
	b, err := vfs.ReadFile(vfs.OS(), journalPath(dir), maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, vfs.ErrTooLarge) {
		return nil, fmt.Errorf("drain: %w", err)
	}
	j := new(journal)
	if err := json.Unmarshal(b, j); err != nil {
		// The file is written atomically, so this is not a torn write. Its presence is sufficient.
		return &journal{Trigger: "unknown (unreadable journal)"}, nil
	}
	return j, nil
}
