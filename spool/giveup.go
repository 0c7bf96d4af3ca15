package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// givenUp is the file in which the operator gives up damaged records of one segment: damaged/<16 hex>.given-up. It is a separate
// file, so that it can be written while a process has the spool open, and on a volume that others adopt.
type givenUp struct {
	Version int             `json:"version"` // 1
	Spool   string          `json:"spool"`
	Class   string          `json:"class"`
	Segment uint64          `json:"segment"`
	Ranges  []segment.Range `json:"ranges"`
	Time    time.Time       `json:"time"`
}

// GiveUp records in the spool in dir that the operator gives up damaged records of one segment: from then on a drain is complete
// without them. It changes nothing else: records that can be read are still delivered, and the
// damaged files stay. The spool may be open in another process, or waiting to be adopted.
//
// The ledger, the manifests and the audit still report the records as damaged.
func GiveUp(dir string, number uint64, ranges []segment.Range) error {
	return giveUp(vfs.OS(), dir, number, ranges)
}

func giveUp(fsys vfs.FS, dir string, number uint64, ranges []segment.Range) error {
	if err := checkDir("GiveUp", dir); err != nil {
		return err
	}
	if err := refuseLinks(fsys, dir); err != nil {
		return err
	}
	src := &source{fs: fsys, dir: dir}
	if _, err := fsys.Stat(filepath.Join(dir, segDir)); err != nil {
		return fmt.Errorf("spool: %s holds no spool: %w", dir, err)
	}
	id, err := src.identity()
	if err != nil {
		return err
	}
	if number == 0 || len(ranges) == 0 {
		return errors.New("spool: GiveUp needs a segment and the records that are given up")
	}
	for _, r := range ranges {
		if r.First == 0 || r.Last < r.First {
			return fmt.Errorf("spool: GiveUp: %d to %d is no range of sequence numbers", r.First, r.Last)
		}
	}
	g := givenUp{Version: 1, Spool: id.Spool, Class: id.Class, Segment: number, Time: time.Now().UTC()}
	switch old, err := loadGivenUp(fsys, dir, number); {
	case err == nil && old.Spool == id.Spool:
		g.Ranges = old.Ranges
	case statefile.AnswerTo(err) == statefile.Refused: // overwriting the file would lose the ranges given up before
		return fmt.Errorf("spool: give up records: %w", err)
	}
	for _, r := range ranges {
		if !slices.Contains(g.Ranges, r) {
			g.Ranges = append(g.Ranges, r) // as given: see within
		}
	}
	b, err := statefile.Seal(g)
	if err == nil {
		err = fsys.MkdirAll(filepath.Join(dir, damagedDir))
	}
	if err == nil {
		err = vfs.WriteFileAtomic(fsys, givenUpPath(dir, number), b)
	}
	if err != nil {
		return fmt.Errorf("spool: give up records: %w", err)
	}
	return nil
}

// within returns the given-up ranges that contain only damaged records, merged. A range that also contains other records was given
// up before it was known which are damaged, and acknowledges nothing.
func (g *givenUp) within(damaged []segment.Range) (ranges []segment.Range) {
	for _, r := range g.Ranges {
		if covers(damaged, []segment.Range{r}) {
			ranges = append(ranges, r)
		}
	}
	return mergeRanges(ranges)
}

func givenUpPath(dir string, number uint64) string {
	return filepath.Join(dir, damagedDir, numberName(number)+givenUpExt)
}

// loadGivenUp reads the file; fs.ErrNotExist if nothing was given up. A damaged file gives nothing up.
func loadGivenUp(fsys vfs.FS, dir string, number uint64) (*givenUp, error) {
	g := new(givenUp)
	if err := loadState(fsys, givenUpPath(dir, number), maxStageRecord, 1, g); err != nil {
		return nil, err
	}
	if g.Version != 1 || g.Segment != number {
		return nil, fs.ErrNotExist
	}
	return g, nil
}

// ReadDamages lists the recorded damage of the spool in dir, which another process may have open. Damage that
// no process has found yet is not listed: see Inspect, and the report of a drain.
func ReadDamages(dir string) ([]Damage, error) {
	fsys := vfs.OS()
	if err := refuseLinks(fsys, dir); err != nil {
		return nil, err
	}
	id, err := (&source{fs: fsys, dir: dir}).identity()
	if err != nil {
		return nil, err
	}
	at := newSite(nil, dir, fsys, (&Options{Class: id.Class}).withDefaults())
	at.id = id
	d := &damages{site: at}
	if err := d.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return d.list(), nil
}
