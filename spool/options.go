package spool

import (
	"log/slog"
	"time"
)

// SyncPolicy says when written records are forced to stable storage.
type SyncPolicy uint8

const (
	// SyncInterval (default): Append returns after write(2); an fdatasync begins at most Options.SyncInterval later.
	// Process death loses nothing, power loss at most what Stats shows as not yet durable.
	SyncInterval SyncPolicy = iota
	// SyncAlways: Append returns after fdatasync; many callers share one.
	SyncAlways
	// SyncNone: only sealing syncs. Process death loses nothing, power loss what the kernel had not written back.
	SyncNone
)

// FullPolicy says what happens when the quota is used up.
type FullPolicy uint8

const (
	// Block (default): Append and Offer wait for room or for their context.
	Block FullPolicy = iota
	// Reject: Append and Offer return ErrFull at once, and the records are counted as lost, cause spool_full.
	Reject
)

// Options configure a spool. The zero value of every field means its documented default.
type Options struct {
	// Class of traffic, `[a-z0-9_]{1,32}`; default "default". Recorded at creation; a different one later is refused.
	Class string
	// Instance names this host in headers and manifests (default: the host name). Another instance than the one
	// recorded starts a new epoch.
	Instance string
	// Destinations names every destination whose Ack is required before a segment may be deleted, `[a-z0-9_-]{1,64}`.
	// The spool remembers them: leaving out one that is still owed something is refused unless it is in Forget.
	Destinations []string
	// Forget names destinations that are given up. Recorded in the ledger.
	Forget []string

	SegmentBytes int64         // size at which a segment is sealed; default 64 MiB, 64 KiB to 1 GiB
	SegmentAge   time.Duration // age at which a segment with records is sealed; default 60 s
	Sync         SyncPolicy
	SyncInterval time.Duration // default 10 ms
	MaxBytes     int64         // quota of everything in the directory; default 90 % of the file system
	OnFull       FullPolicy
	MemoryBytes  int64 // budget of Offer; default 128 MiB, allocated lazily
	StageWorkers int   // concurrent Stage calls the reserve is laid out for; default 2

	Logger *slog.Logger // nil discards
}
