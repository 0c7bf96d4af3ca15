package spool

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// Errors that callers branch on.
var (
	ErrClosed  = errors.New("spool: closed")
	ErrFull    = errors.New("spool: quota used up")
	ErrLocked  = errors.New("spool: held by another process")
	ErrCorrupt = errors.New("spool: corrupt")
	// ErrFailing: the disk refuses writes, in two files after each other. Appends are refused until it takes them again.
	ErrFailing = errors.New("spool: disk is failing")
	// ErrTooLong: a record or a batch that no spool with these options can ever take.
	ErrTooLong = errors.New("spool: too long")
	// ErrOptions: with these options this process can open no spool.
	ErrOptions = errors.New("spool: unusable options")
	// ErrPending: a destination with pending segments is missing from Options.Destinations.
	ErrPending = errors.New("spool: segments are pending for the destination")
)

// Segment describes a sealed segment. Values are snapshots.
type Segment struct {
	Number  uint64
	Epoch   uint32
	First   uint64 // first sequence number; the next segment's First is Last+1
	Last    uint64 // First−1 if the segment holds no records
	Records uint64 // Last−First+1 minus the damaged ones
	Bytes   uint64 // payload bytes
	Gaps    []segment.Range
	Created time.Time // when it became active; names the object's hour
	MinTime time.Time // of the records; zero without any
	MaxTime time.Time
	// Lost is what this segment's ledger adds to the one before it: the manifest's loss lines.
	Lost segment.Losses
	// Filtered and Made are what it adds to the counts of records that were changed on purpose: see segment.Ledger.
	Filtered segment.Tally `json:",omitzero"`
	Made     segment.Tally `json:",omitzero"`
	// Unaccounted is what this segment's ledger adds to the one before it of times whose balance can only be bounded.
	Unaccounted []segment.Unaccounted
	// Size of the file.
	Size   int64
	Staged bool
}

// Encoder turns a segment into the output format. Package ship/format has the one that is used.
type Encoder interface {
	// Encode writes src to dst. A nil want means the Encoder's own settings; otherwise those of an earlier stage record,
	// which must be followed. A write to dst can take 10 ms while a UDP listener of the process is behind.
	Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error)
	// Decode returns the uncompressed output behind a staged file, to compare it with its recorded hash.
	Decode(src io.Reader, e object.Encoding) (io.ReadCloser, error)
}

// StageRecord is the sidecar of a staged file. It is fsynced with it before the first Put, and fixes key and bytes of
// the object permanently. Integers that exceed 53 bits and hashes are strings in its JSON.
type StageRecord struct {
	Version int             `json:"version"` // 1
	Spool   string          `json:"spool"`
	Epoch   uint32          `json:"epoch"`
	Class   string          `json:"class"`
	Segment uint64          `json:"segment"`
	First   uint64          `json:"first"`
	Last    uint64          `json:"last"`
	Records uint64          `json:"records"`
	Bytes   uint64          `json:"bytes"` // payload bytes of the records
	Gaps    []segment.Range `json:"gaps,omitempty"`
	MinTime time.Time       `json:"min_time"`
	MaxTime time.Time       `json:"max_time"`
	// Key below the destination's prefix.
	Key string `json:"key"`
	object.Encoding
	ContentType     string `json:"content_type"`
	ContentEncoding string `json:"content_encoding,omitempty"`
	RawBytes        int64  `json:"raw_bytes"`  // uncompressed output
	RawSHA256       string `json:"raw_sha256"` // hex
	Size            int64  `json:"size"`       // stored bytes
	SHA256          string `json:"sha256"`     // of the stored bytes, hex
	CRC64NVME       string `json:"crc64nvme"`  // of the stored bytes, 16 hex digits
	// Header and Footer are copies of the segment's own (base64 in JSON), for when the raw file has gone.
	Header []byte `json:"header"`
	Footer []byte `json:"footer"`
}

// Chain is the state of one destination's manifest chain and, with it, of its deliveries.
type Chain struct {
	// Spool is the identity under which the chain is written: the spool's own, until another owner has continued that chain
	// with other records, see Spool.Leave. Each destination's chain has its own.
	Spool   string   `json:"spool,omitempty"`
	Epoch   uint32   `json:"epoch"`
	Next    uint64   `json:"next"`    // number of the manifest to be written next; 0 is the birth manifest
	Hash    [32]byte `json:"hash"`    // SHA-256 of the last manifest's bytes; zero before the first
	Segment uint64   `json:"segment"` // last segment the chain covers, 0: none
	Through uint64   `json:"through"` // last sequence number the chain covers
	Joined  uint64   `json:"joined"`  // first sequence number that this destination must get
	Final   bool     `json:"final"`   // the last manifest was final, or has handed the chain over
	// Before is where the last manifest is that Hash is of, if Next is 0: in an earlier epoch. Zero if it is not known.
	Before Link `json:"before,omitzero"`
	// ClosedBy is the epoch that the last manifest has handed the chain over to, 0 if it has not.
	ClosedBy uint32 `json:"closed_by,omitempty"`
	// Taken is when the last manifest was written, in Unix nanoseconds, if another owner has written it; 0 if this spool has.
	Taken int64 `json:"taken,omitempty"`
	// Left: another owner goes on with the chain, and it contains of this spool what it ever will. Final is set too: nothing
	// follows before Rename.
	Left bool `json:"left,omitempty"`
	// Stated: the chain that this spool left before this one names the records of the segment after Segment, so that only
	// its losses are owed.
	Stated bool `json:"stated,omitempty"`
	// Passed: no segment that the chain does not cover begins before it. The spool keeps it, see Idle; Ack ignores it.
	Passed time.Time `json:"passed,omitzero"`
}

// Link names a manifest of a chain.
type Link struct {
	Epoch  uint32 `json:"epoch"`
	Number uint64 `json:"number"`
}

// Last returns where the chain's last manifest is; false if there is none, or if that is not known.
func (c *Chain) Last() (Link, bool) {
	if c.Next > 0 {
		return Link{c.Epoch, c.Next - 1}, true
	}
	return c.Before, c.Before != Link{}
}

// Stats is a cheap snapshot.
type Stats struct {
	SpoolID  string
	Class    string
	Epoch    uint32
	Appended uint64        // last sequence number given
	Written  uint64        // last one written to the log (kept)
	Durable  uint64        // last one on stable storage
	Buffered segment.Tally // taken by Offer or waiting in Append, not yet written
	// Rewriting is what was written (kept) to a file that has failed since, and must be written again to another one.
	Rewriting segment.Tally
	Segments  int // sealed and still present
	Staged    int
	Used      int64 // bytes of the directory that count against Quota
	Quota     int64
	Full      bool // appends wait or are rejected for want of room
	// Err is why appends are refused now: a failing disk, or ErrClosed after Close. Nil when all is well.
	Err error
	// Panics counts the calls of an Encoder or a Hook that have panicked in this process.
	Panics uint64
	// Untold counts the calls that Hooks have missed because they were too slow.
	Untold uint64
	// Pending is, for each destination, the records that are not delivered to it yet, sealed or not.
	Pending map[string]segment.Tally
	// Oldest is, for each destination that something is pending for, when the oldest segment began that it does not have.
	Oldest map[string]time.Time
	// LastAppend is when the newest batch was taken by this process, zero before the first.
	LastAppend time.Time
	// Memory is the part of Options.MemoryBytes that is in use, and Disk what the file system of the directory has.
	Memory Capacity
	Disk   Capacity
	// Times has how long calls took.
	Times Times
}
