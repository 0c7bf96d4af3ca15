package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const verifyText = `It reads every segment and staged file, compares them with their checksums, and looks for records that are in no file. Without a running
service it also tries, in memory, what the next start would do, and reports what that would find. Nothing is changed.

What is marked "harmless" loses nothing: the next start does without the file or makes it again.

Examples:
  spoolctl verify /var/spool/penstock
  spoolctl verify -json /var/spool/penstock/vpn | jq '.[].problems'`

func verifyCommand() *command {
	c := newCommand("verify", "reads everything and says what is damaged", "[-json] DIR…", verifyText)
	c.do = func(ctx context.Context, to *output, dirs []string) (int, error) {
		code := 0
		var all []*verification
		for _, dir := range dirs {
			v, err := verify(ctx, to, dir)
			if err != nil {
				return 0, errors.Join(err, show(to, all, func(w io.Writer, v *verification) { v.write(w) }))
			}
			if slices.ContainsFunc(v.Problems, func(f found) bool { return !f.Harmless }) {
				code = exitDamaged
			}
			all = append(all, v)
		}
		return code, show(to, all, func(w io.Writer, v *verification) { v.write(w) })
	}
	return c
}

// verification is the result of the command verify for a spool.
type verification struct {
	Dir      string  `json:"dir"`
	Class    string  `json:"class"`
	Spool    string  `json:"spool"`
	Open     bool    `json:"open"`
	Segments int     `json:"segments"` // segments that were read
	Staged   int     `json:"staged"`
	Bytes    int64   `json:"bytes"` // bytes that were read
	Records  uint64  `json:"records"`
	Problems []found `json:"problems"`

	d *spool.Directory
}

// found is a problem.
type found struct {
	Path    string          `json:"path,omitempty"`
	Segment uint64          `json:"segment,omitempty"`
	Ranges  []segment.Range `json:"ranges,omitempty"` // of missing records
	What    string          `json:"what"`
	// Harmless: no record is lost because of it.
	Harmless bool `json:"harmless,omitempty"`
}

// maxProblems bounds the list: a file of garbage can have a million ranges.
const maxProblems = 10_000

func (v *verification) add(f found) {
	switch len(v.Problems) {
	case maxProblems:
		v.Problems = append(v.Problems, found{What: "there is more, which is not listed"})
	case maxProblems + 1:
	default:
		v.Problems = append(v.Problems, f)
	}
}

func verify(ctx context.Context, to *output, dir string) (*verification, error) {
	d, segments, err := readSegments(dir)
	if err != nil {
		return nil, err
	}
	v := &verification{Dir: dir, Class: d.Class, Spool: d.Spool, Open: d.Open, Problems: []found{}, d: d}
	for _, p := range d.Problems {
		v.add(found{Path: p.Path, What: p.What, Harmless: p.Harmless})
	}
	for _, x := range d.Damages {
		v.add(found{Segment: x.Segment, Ranges: x.Ranges, What: "damage that is on record: " + x.Why, Harmless: x.GivenUp})
	}
	if err := d.CheckIndex(); err != nil {
		v.add(found{Path: "index.db", What: err.Error() + "; the next start makes it again from the segments", Harmless: true})
	}
	if err := v.files(ctx, to, segments); err != nil {
		return nil, err
	}
	v.continuity(segments)
	if !d.Open {
		v.start(dir)
	}
	return v, nil
}

// files reads segments and staged files.
func (v *verification) files(ctx context.Context, to *output, segments []*spool.SegmentFile) error {
	var done, of atomic.Int64
	for _, s := range segments {
		of.Add(s.Size + s.ObjectSize)
	}
	stop := to.progress(func() (float64, string) {
		return float64(done.Load()) / max(1, float64(of.Load())), units.Size(done.Load()) + " of " + units.Size(of.Load())
	})
	defer stop()
	for _, s := range segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		sound := false
		if s.Object != "" {
			err := v.object(ctx, s)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			sound = err == nil
			if err != nil && !v.gone(s.Object) {
				v.add(found{Path: s.Object, Segment: s.Number, What: err.Error(), Harmless: s.Path != "" || v.delivered(s.Last)})
			}
			v.Staged++
		} else if s.State == spool.SegmentStaged {
			v.add(found{Segment: s.Number, Ranges: []segment.Range{{First: s.First, Last: s.Last}}, What: s.Problem})
		}
		if s.Path != "" {
			v.segment(s, sound)
		}
		done.Add(s.Size + s.ObjectSize)
		v.Bytes += s.Size + s.ObjectSize
	}
	return nil
}

// segment reads one segment. staged: its staged file has all of the segment's records.
func (v *verification) segment(s *spool.SegmentFile, staged bool) {
	switch s.State {
	case spool.SegmentBlank:
		return
	case spool.SegmentUnreadable:
		if !v.gone(s.Path) {
			v.add(found{Path: s.Path, Segment: s.Number, What: s.Problem, Harmless: staged})
		}
		return
	}
	v.Segments++
	if s.Problem != "" {
		v.add(found{Path: s.Path, Segment: s.Number, What: s.Problem, Harmless: true})
	}
	damage, err := s.Verify()
	if v.gone(s.Path) {
		return // it was delivered and deleted during the reading
	}
	v.Records += s.Records
	for _, x := range damage {
		lost, some := x.Range()
		f := found{Path: s.Path, Segment: s.Number, What: x.Error(), Harmless: !some || staged || v.delivered(lost.Last)}
		if some {
			if lost.Last == segment.Unbounded && s.Last >= lost.First {
				lost.Last = s.Last
			}
			if v.onRecord(lost) {
				continue
			}
			f.Ranges = []segment.Range{lost}
		}
		v.add(f)
	}
	if err != nil {
		v.add(found{Path: s.Path, Segment: s.Number, What: err.Error(), Harmless: staged})
	}
}

// gone reports whether a file no longer exists because a process has deleted it after delivery.
func (v *verification) gone(path string) bool {
	if !v.Open {
		return false
	}
	_, c, err := v.d.OpenFile(path)
	if err == nil {
		_ = c.Close()
	}
	return err != nil
}

// object compares a staged file with its stage record.
func (v *verification) object(ctx context.Context, s *spool.SegmentFile) error {
	rec := s.Record
	if rec == nil {
		var err error
		if rec, err = v.d.StageRecord(s.Number); err != nil {
			return err
		}
	}
	body, c, err := v.d.OpenFile(s.Object)
	if err != nil {
		return err
	}
	defer c.Close()
	if body.Size() != rec.Size {
		return fmt.Errorf("the staged file has %d bytes, and its record says %d", body.Size(), rec.Size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, &ctxReader{ctx, body}); err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != rec.SHA256 {
		return fmt.Errorf("the staged file has the SHA-256 %s, and its record says %s", sum, rec.SHA256)
	}
	return nil
}

// delivered reports whether every destination has all records up to seq.
func (v *verification) delivered(seq uint64) bool { return seq < firstOwed(v.d) }

// onRecord reports whether damage that covers the range is already listed.
func (v *verification) onRecord(r segment.Range) bool {
	for _, f := range v.Problems {
		for _, x := range f.Ranges {
			if x.First <= r.First && r.Last <= x.Last {
				return true
			}
		}
	}
	return false
}

// continuity looks for records that are in no file.
func (v *verification) continuity(segments []*spool.SegmentFile) {
	next := firstOwed(later(v.d))
	missing := func(first, last uint64, number uint64) {
		if r := (segment.Range{First: first, Last: last}); first <= last && !v.onRecord(r) {
			v.add(found{Segment: number, Ranges: []segment.Range{r}, What: "these records are in no file"})
		}
	}
	last := uint64(0)
	for _, s := range segments {
		if s.First == 0 || s.State == spool.SegmentBlank || s.State == spool.SegmentUnreadable {
			continue
		}
		if next > 0 && s.First > next {
			missing(next, s.First-1, s.Number-1)
		}
		next = max(next, s.First, s.Last+1)
		last = s.Number
	}
	if !v.Open && next > 0 && v.d.Next > next {
		missing(next, v.d.Next-1, last+1)
	}
}

// start checks what the next start of the service would do.
func (v *verification) start(dir string) {
	p, err := spool.PlanRepair(dir, &spool.RepairOptions{NoLock: true, Logger: slog.New(slog.DiscardHandler)})
	if now, rerr := spool.ReadDirectory(dir); rerr == nil && now.Open {
		v.Open = true // a process has begun to change the files that the plan was made from
		return
	}
	if err != nil {
		v.add(found{What: "the next start cannot be tried: " + err.Error()})
		return
	}
	if p.Refused != "" {
		v.add(found{What: "the next start refuses the spool: " + p.Refused})
	}
	for _, f := range p.Findings {
		v.add(found{What: "the next start says: " + f.Text, Harmless: f.Level < slog.LevelError})
	}
	for _, x := range p.Damages {
		for _, r := range x.Ranges {
			if !v.onRecord(r) {
				v.add(found{Segment: x.Segment, Ranges: []segment.Range{r}, What: "the next start finds them missing: " + x.Why})
			}
		}
	}
}

func (v *verification) write(w io.Writer) {
	fmt.Fprintf(w, "%s: class %s: read %s, %s, %s\n", terminal.Printable(v.Dir), terminal.Printable(v.Class), count(v.Segments, "segment"), count(v.Staged, "staged file"), units.Size(v.Bytes))
	if len(v.Problems) == 0 {
		fmt.Fprintln(w, "  nothing is wrong")
	}
	for _, f := range v.Problems {
		line := "  "
		if f.Harmless {
			line += "harmless: "
		}
		switch {
		case f.Path != "":
			line += f.Path + ": "
		case f.Segment != 0:
			line += fmt.Sprintf("segment %d: ", f.Segment)
		}
		if len(f.Ranges) > 0 {
			line += "records " + numbers(f.Ranges) + ": "
		}
		fmt.Fprintln(w, terminal.Printable(line)+terminal.Paragraph(f.What))
	}
}

// ctxReader reads until ctx ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
