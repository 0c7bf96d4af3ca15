package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// SyncPolicy says when written records are forced to stable storage.
type SyncPolicy uint8

const (
	// SyncInterval (default): Append returns after write(2); an fdatasync begins at most Options.SyncInterval later or, if
	// another one is running then, when that one has returned. Process death loses no kept record, power loss at most those that
	// Stats shows as not yet durable.
	SyncInterval SyncPolicy = iota
	// SyncAlways: Append returns after fdatasync; many callers share one.
	SyncAlways
	// SyncNone: Append returns after write(2). Written data is synced in the background each time some MiB have accumulated,
	// at sealing and in Close. Process death loses no kept record, power loss at most those that Stats shows as not yet durable.
	SyncNone
)

// FullPolicy says what happens when the quota is used up.
type FullPolicy uint8

const (
	// Block (default): Append and Offer wait until there is room or their context ends.
	Block FullPolicy = iota
	// Reject: Append and Offer return ErrFull at once, and the records are counted as lost by the cause spool_full.
	Reject
)

// waits reports whether appends wait for room.
func (p FullPolicy) waits() bool { return p == Block }

// Options configure a spool. The zero value of every field means its documented default.
type Options struct {
	// Class of traffic, `[a-z0-9_]{1,32}`; default "default". Recorded at creation; a different one later is refused.
	Class string
	// Instance names this host in headers and manifests (default: the host name). Opening the spool under another instance
	// than the recorded one starts a new epoch.
	Instance string
	// Destinations names every destination whose Ack is required before a segment may be deleted, `[a-z0-9_-]{1,64}`.
	// The spool remembers them. Leaving out one with pending segments is refused unless it is in Forget. With
	// no destination nothing is ever deleted, since no Ack permits it.
	Destinations []string
	// Forget names destinations that the operator has given up. The ledger records them.
	Forget []string

	SegmentBytes int64 // size at which a segment is sealed; default 64 MiB, 64 KiB to 1 GiB
	// SegmentAge is the age at which a segment with records is sealed; default 60 s. It bounds how long the records of a quiet class
	// wait before they are sent. A shorter age makes more and smaller objects.
	SegmentAge   time.Duration
	Sync         SyncPolicy
	SyncInterval time.Duration // default 10 ms
	MaxBytes     int64         // quota of the directory; default 90 % of the file system: set it where several spools share one
	OnFull       FullPolicy
	MemoryBytes  int64 // budget for accepted records not yet on stable storage; default 128 MiB, at least 1 MiB, allocated lazily
	StageWorkers int   // number of concurrent Stage calls for which StageReserve is sized; default 2
	// StageReserve is the part of the quota, in bytes, that appends leave free so that staging can continue when the spool
	// is full. Default 1.25 × SegmentBytes for each of the StageWorkers, which suits every codec that compresses. With the
	// codec "none" and small records, output can be 8 × the segment: a full spool then stages only the segment that a
	// destination waits for, one at a time, and if that does not fit either it exceeds MaxBytes by that one file.
	StageReserve int64

	// Successor says that this process takes over from one that has called HandOver, and has received records into memory since
	// (ingest.Hold).
	Successor bool

	// Hooks are called when something happens: see Hook.
	Hooks  []Hook
	Logger *slog.Logger // nil discards
}

const (
	minSegmentBytes = 64 << 10
	maxSegmentBytes = 1 << 30
	minMemoryBytes  = 1 << 20
)

// Options returns the options in use, defaults included. A shipper reads from them the settings on which shipper and spool must
// agree.
func (s *Spool) Options() Options {
	o := s.opts
	o.Destinations, o.Forget = slices.Clone(o.Destinations), slices.Clone(o.Forget)
	o.Hooks = slices.Clone(o.Hooks)
	return o
}

// withDefaults returns a copy of o, which may be nil, with every zero field but MaxBytes set to its default.
func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Class == "" {
		d.Class = "default"
	}
	if d.Instance == "" {
		if d.Instance, _ = os.Hostname(); d.Instance == "" {
			d.Instance = "unknown"
		}
	}
	if d.SegmentBytes == 0 {
		d.SegmentBytes = 64 << 20
	}
	if d.SegmentAge == 0 {
		d.SegmentAge = time.Minute
	}
	if d.SyncInterval == 0 {
		d.SyncInterval = 10 * time.Millisecond
	}
	if d.MemoryBytes == 0 {
		d.MemoryBytes = 128 << 20
	}
	if d.StageWorkers == 0 {
		d.StageWorkers = 2
	}
	if d.StageReserve == 0 {
		d.StageReserve = d.SegmentBytes * 5 / 4 * int64(d.StageWorkers)
	}
	d.Logger = steadylog.Wrap(d.Logger)
	return d
}

// validate returns one error for all invalid values in options whose defaults are filled in.
func (o *Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	check := func(err error) {
		if err != nil {
			bad("%w", err)
		}
	}
	check(segment.CheckClass(o.Class))
	check(checkInstance(o.Instance))
	seen := map[string]bool{}
	for _, d := range o.Destinations {
		check(segment.CheckDestination(d))
		if seen[d] {
			bad("destination %q is given twice", d)
		}
		seen[d] = true
	}
	for _, d := range o.Forget {
		if seen[d] {
			bad("destination %q is in both Destinations and Forget", d)
		}
	}
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes {
		bad("SegmentBytes %d is not between %d and %d", o.SegmentBytes, minSegmentBytes, maxSegmentBytes)
	}
	if o.MemoryBytes < minMemoryBytes {
		bad("MemoryBytes %d is below %d", o.MemoryBytes, minMemoryBytes)
	}
	if o.SegmentAge < 0 || o.SyncInterval < 0 || o.MaxBytes < 0 || o.StageWorkers < 0 || o.StageReserve < 0 {
		bad("durations, sizes and counts must not be negative")
	}
	if o.Sync > SyncNone {
		bad("unknown sync policy %d", o.Sync)
	}
	check(checkHooks(o.Hooks))
	if o.OnFull > Reject {
		bad("unknown policy for a full spool %d", o.OnFull)
	}
	if len(errs) == 0 && o.MaxBytes > 0 {
		_, err := newQuota(o, 0)
		check(err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}
