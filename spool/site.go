package spool

import (
	"log/slog"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

// site is what all parts of a spool share: its directory, its identity, and the options. Nothing in it changes once the
// spool is open, except identity.Destinations, which Shelf.naming guards.
type site struct {
	source *source // where an adopted spool comes from, otherwise nil: see Adopt
	dir    string
	fs     vfs.FS
	opts   Options
	log    *slog.Logger
	again  steadylog.Repeats // log lines about failures of operations that are retried
	id     *identity
	opened time.Time
	hooks  *hooks
	// patience is for the reads of Open; nil for a site that is only read.
	patience *patience

	changed wait.Signal   // at each change of Sealed, Stats.Full or a chain
	work    chan struct{} // wakes the keeper
}

// newSite describes the spool in dir. Its identity is not known yet.
func newSite(src *source, dir string, fsys vfs.FS, o Options) *site {
	return &site{
		source: src, dir: dir, fs: fsys, opts: o, log: o.Logger, opened: time.Now(), hooks: newHooks(&o), work: make(chan struct{}, 1),
	}
}

// logAgain logs failures of an operation that is retried: the first one at once, then one line a minute with their number.
func (s *site) logAgain(level slog.Level, msg string, attrs ...any) {
	s.again.Log(s.log, level, msg, append([]any{"class", s.opts.Class}, attrs...)...)
}

// newHeader returns the header of a segment that this owner begins, with a new generation.
func (s *site) newHeader(number, first uint64, created time.Time, l segment.Ledger) *segment.Header {
	return &segment.Header{
		Generation: segment.NewGeneration(), Segment: number, First: first, Created: created, Spool: s.id.Spool,
		Epoch: s.id.Epoch, Class: s.opts.Class, Instance: s.opts.Instance, Ledger: l,
	}
}
