package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

const (
	checkpointVersion = 1
	// saveInterval is how often a checkpoint is written. An interrupted audit repeats at most that much work.
	saveInterval = 5 * time.Second
	// maxCheckpoint bounds the file in bytes: enough for a hundred thousand chains.
	maxCheckpoint = 64 << 20
)

// mark says that every object up to a manifest was looked at and found right.
type mark struct {
	Place  string `json:"place"`
	Class  string `json:"class"`
	Spool  string `json:"spool"`
	Epoch  uint32 `json:"epoch"`
	Number uint64 `json:"number"`
	Hash   string `json:"hash"` // of the manifest: the chain up to it is the one that was judged
}

// checkpointFile is the content of the file, as JSON.
type checkpointFile struct {
	Version int       `json:"version"`
	Deep    bool      `json:"deep"`
	Since   time.Time `json:"since,omitzero"` // Options.Since and Hour: which objects were looked at
	Hour    time.Time `json:"hour,omitzero"`
	Marks   []mark    `json:"marks"`
}

// checkpointHead is what every checkpoint of this version begins with.
const checkpointHead = `{"version":1,"deep":`

// isTorn reports whether a file that cannot be decoded may be what a power loss left of a checkpoint: the beginning of one, nothing at
// all, or one with zeros at its end or beginning. Any other file was named by mistake, and must be neither replaced nor removed.
func isTorn(b []byte) bool {
	text := bytes.TrimRight(b, "\x00")
	if len(text) > 0 && text[0] == 0 {
		return !bytes.ContainsFunc(text, func(r rune) bool { return r != 0 && r != '\n' && (r < ' ' || r > '~') })
	}
	n := min(len(text), len(checkpointHead))
	return string(text[:n]) == checkpointHead[:n]
}

// decodeCheckpoint reads a checkpoint. The errors say what to do.
func decodeCheckpoint(b []byte) (*checkpointFile, error) {
	var f checkpointFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("not a checkpoint of an audit, remove it to start again: %w", err)
	}
	if f.Version != checkpointVersion {
		return nil, fmt.Errorf("checkpoint of version %d, this program writes %d: remove it to start again", f.Version, checkpointVersion)
	}
	for _, m := range f.Marks {
		if h, err := hex.DecodeString(m.Hash); err != nil || len(h) != 32 || (object.Origin{Class: m.Class, Spool: m.Spool}).Check() != nil || m.Epoch < 1 {
			return nil, fmt.Errorf("not a checkpoint of an audit, remove it to start again: %+v", m)
		}
	}
	return &f, nil
}

// marks are the checkpoint of a running audit. It is safe for concurrent use.
type marks struct {
	path string
	of   checkpointFile // what this audit looks at, without marks

	mu    sync.Mutex
	all   map[chainID]mark
	saved time.Time
	dirty bool
}

// loadMarks reads the checkpoint, if there is one of an audit of the same depth that looked for every object that this one looks for. It
// ignores one that a power loss has torn: objects that were found right are then examined again.
func loadMarks(o *Options) (*marks, error) {
	path := o.Checkpoint
	of := checkpointFile{Version: checkpointVersion, Deep: o.Deep, Since: o.Since.UTC(), Hour: o.Hour}
	m := &marks{path: path, of: of, all: map[chainID]mark{}, saved: time.Now()}
	if path == "" {
		return m, nil
	}
	b, err := readCheckpoint(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := decodeCheckpoint(b)
	if err != nil && isTorn(b) {
		o.Logger.Warn("audit: the checkpoint is incomplete, perhaps after a power cut; the audit begins again, and nothing is left out", "file", path, "err", err)
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.Deep == of.Deep && f.Hour.Equal(of.Hour) && !f.Since.After(of.Since) {
		for _, k := range f.Marks {
			m.all[chainID{k.Place, object.Origin{Class: k.Class, Spool: k.Spool}}] = k
		}
	}
	return m, nil
}

func readCheckpoint(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCheckpoint+1))
	if err == nil && len(b) > maxCheckpoint {
		err = fmt.Errorf("%s: more than %d bytes are no checkpoint of an audit", path, maxCheckpoint)
	}
	return b, err
}

func (m *marks) get(id chainID) (mark, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.all[id]
	return k, ok
}

// set advances a chain's mark, and saves all marks every saveInterval.
func (m *marks) set(id chainID, l *link) error {
	if m.path == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[id] = mark{id.place, id.Class, id.Spool, l.epoch, l.number, hex.EncodeToString(l.hash[:])}
	m.dirty = true
	if time.Since(m.saved) < saveInterval {
		return nil
	}
	return m.saveLocked()
}

// save writes what is not saved yet.
func (m *marks) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.path == "" || !m.dirty {
		return nil
	}
	return m.saveLocked()
}

// saveLocked replaces the file atomically. The file is synced, because an audit that takes a day should not begin again after a power
// loss: without the sync, some file systems show an empty file under the new name.
func (m *marks) saveLocked() error {
	f := m.of
	for _, k := range m.all {
		f.Marks = append(f.Marks, k)
	}
	slices.SortFunc(f.Marks, func(a, b mark) int {
		return cmp.Or(strings.Compare(a.Class, b.Class), strings.Compare(a.Spool, b.Spool), strings.Compare(a.Place, b.Place))
	})
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(vfs.OS(), m.path, append(b, '\n')); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	m.saved, m.dirty = time.Now(), false
	return nil
}

// remove deletes the file: the audit is done.
func (m *marks) remove() error {
	if m.path == "" {
		return nil
	}
	if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// batch holds the objects of one manifest that are being examined, in any order. A mark advances past a batch only when it and all
// batches before it are done, so that one number per chain is the whole checkpoint.
type batch struct {
	at     *link
	open   int  // objects that are not done
	sealed bool // no more will be added
	bad    bool // one was not right: the next audit examines it again
}

// resume reads how far an earlier audit got with this chain, if it is still the chain that was judged then.
func (w *walk) resume(ctx context.Context) error {
	k, ok := w.a.marks.get(chainID{w.p.name, w.id})
	if !ok {
		return nil
	}
	var m *ship.Manifest
	err := w.p.requestOf(ctx, object.ManifestKey(w.id.Class, w.id.Spool, k.Epoch, k.Number), func(ctx context.Context) (err error) {
		m, err = ship.ReadManifest(ctx, w.p.dest, w.id.Class, w.id.Spool, k.Epoch, k.Number)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ship.ErrVerify), errors.Is(err, errUnread):
		return nil // the chain is damaged, or nothing shows that it is the same, and it will be judged from its beginning
	case err != nil:
		return err
	}
	if hex.EncodeToString(m.Hash[:]) == k.Hash {
		w.through = &headID{k.Epoch, k.Number}
	}
	return nil
}

// isKnown reports whether an earlier audit has found the objects of a manifest right.
func (w *walk) isKnown(l *link) bool {
	t := w.through
	return t != nil && (l.epoch < t.epoch || l.epoch == t.epoch && l.number <= t.number)
}

func (w *walk) openBatch(l *link) *batch {
	b := &batch{at: l}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.a.marks.path != "" && !w.stuck {
		w.batches = append(w.batches, b)
	}
	return b
}

// keepMark keeps the mark where it is from now on. The objects of a manifest that cannot be read are examined by the next audit that can
// read it, so no mark may be after that manifest.
func (w *walk) keepMark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck = true
}

// update changes a batch, and advances the mark past the batches that are done.
func (w *walk) update(b *batch, change func(*batch)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(b)
	var last *link
	for len(w.batches) > 0 {
		b := w.batches[0]
		if b.bad {
			w.stuck, w.batches = true, nil
			break
		}
		if !b.sealed || b.open > 0 {
			break
		}
		last, w.batches = b.at, w.batches[1:]
	}
	if last == nil || w.isKnown(last) {
		return nil
	}
	return w.a.marks.set(chainID{w.p.name, w.id}, last)
}
