// Package report has the results of a loadgen run: numbers as JSON, and a page with plots.
package report

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Version is the version of the JSON.
const Version = 1

// Report says what one process has sent.
type Report struct {
	Version int       `json:"version"`
	Run     string    `json:"run"`
	Host    string    `json:"host"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`

	// Profile and Spread are the load's shape. Size is the size of each line in bytes; 0 if sizes vary.
	Profile string `json:"profile"`
	Spread  string `json:"spread"`
	Size    int    `json:"size,omitempty"`

	Sent  uint64 `json:"sent"`
	Bytes uint64 `json:"bytes"`
	// Acked is how many of the lines sent over RELP the peers have confirmed.
	Acked uint64 `json:"acked,omitempty"`
	// Behind is the largest number of lines by which the sender was ever late; 0 if there is no rate to keep. If it exceeds the
	// lines of a few milliseconds, this machine was the bottleneck.
	Behind  uint64            `json:"behind"`
	Targets map[string]uint64 `json:"targets"`
	Replay  *Replay           `json:"replay,omitempty"`
	// Sources is the number of lines of each source, the busiest first, at most MaxSources of SourceCount.
	Sources     []uint64 `json:"sources,omitempty"`
	SourceCount int      `json:"source_count"`
	Samples     []Sample `json:"samples,omitempty"`
	Error       string   `json:"error,omitempty"`
}

// MaxSources bounds Report.Sources.
const MaxSources = 100

// Replay says what was read from captures.
type Replay struct {
	Files   []string `json:"files"`
	Packets uint64   `json:"packets"`
	// Skipped counts packets that were not sent, by cause: Packets = Sent + the sum of Skipped.
	Skipped map[string]uint64 `json:"skipped,omitempty"`
	// Stamped: each line can be checked.
	Stamped bool `json:"stamped"`
}

// Sample is a moment of a run. Its counts are totals since the start.
type Sample struct {
	Seconds float64 `json:"s"`
	Sent    uint64  `json:"sent"`
	Bytes   uint64  `json:"bytes"`
	Due     uint64  `json:"due,omitempty"`
}

// maxSamples bounds a report, whatever the length of the run.
const maxSamples = 1200

// Course collects samples: one per second or, in a long run, at longer intervals.
type Course struct {
	samples []Sample
	every   time.Duration
	next    time.Duration
}

// Wants reports whether a sample should be added now.
func (c *Course) Wants(at time.Duration) bool { return at >= c.next }

// Add adds a sample.
func (c *Course) Add(at time.Duration, sent, bytes, due uint64) {
	if c.every == 0 {
		c.every = time.Second
	}
	if len(c.samples) == maxSamples {
		for i := range maxSamples / 2 {
			c.samples[i] = c.samples[2*i]
		}
		c.samples = c.samples[:maxSamples/2]
		c.every *= 2
	}
	c.samples = append(c.samples, Sample{at.Seconds(), sent, bytes, due})
	c.next = (at/c.every + 1) * c.every
}

// Samples returns the samples that were added, and a last one for the end.
func (c *Course) Samples(at time.Duration, sent, bytes, due uint64) []Sample {
	return append(c.samples, Sample{at.Seconds(), sent, bytes, due})
}

// Found is what a check found at one destination. Its sums are over all runs.
type Found struct {
	At    string `json:"at"`
	Sent  uint64 `json:"sent"`
	Found uint64 `json:"found"`
	// Missing is null if not everything could be read: the unread part may contain the missing lines.
	Missing   *uint64 `json:"missing"`
	Duplicate uint64  `json:"duplicate"`
	Altered   uint64  `json:"altered"`
	// Foreign are records that belong to none of the runs.
	Foreign uint64 `json:"foreign"`
	// FirstMissing are the sequence numbers of the first few missing lines, if there is only one run.
	FirstMissing []uint64            `json:"first_missing,omitempty"`
	Objects      uint64              `json:"objects"`
	Spools       int                 `json:"spools"`
	Runs         map[string]FoundRun `json:"runs,omitempty"`
	Error        string              `json:"error,omitempty"`
}

// OK reports whether every line is there once, as it was sent.
func (f *Found) OK() bool {
	return f.Error == "" && f.Missing != nil && *f.Missing == 0 && f.Duplicate == 0 && f.Altered == 0
}

// FoundRun is what was found of one run.
type FoundRun struct {
	Sent         uint64   `json:"sent"`
	Found        uint64   `json:"found"`
	Missing      *uint64  `json:"missing"`
	Duplicate    uint64   `json:"duplicate"`
	Altered      uint64   `json:"altered"`
	FirstMissing []uint64 `json:"first_missing,omitempty"`
	// Gaps counts the missing lines by their place in the run: the sequence numbers are divided into len(Gaps) equal parts.
	Gaps []uint64 `json:"gaps,omitempty"`
}

// GapParts is the length of FoundRun.Gaps.
const GapParts = 240

// Check is the result of a check.
type Check struct {
	Version int       `json:"version"`
	Checked time.Time `json:"checked"`
	Class   string    `json:"class,omitempty"`
	OK      bool      `json:"ok"`
	Found   []Found   `json:"destinations"`
	Reports []Report  `json:"reports,omitempty"`
}

// Read reads a report from a file.
func Read(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s is not a report: %w", path, err)
	}
	if r.Version != Version {
		return nil, fmt.Errorf("%s has version %d; this program reads version %d", path, r.Version, Version)
	}
	return &r, nil
}

// Write writes a file atomically: a reader never sees a part of it.
func Write(path string, data []byte) (err error) {
	temporary := filepath.Join(filepath.Dir(path), ".loadgen-"+rand.Text())
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // os.CreateTemp would need a Chmod, which ignores the umask
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// WriteJSON writes a value as JSON.
func WriteJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return Write(path, append(b, '\n'))
}
