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
	// ErrFailing: the disk has refused writes to two files in succession. Appends are refused until the disk accepts writes again.
	ErrFailing = errors.New("spool: disk is failing")
	// ErrTooLong: a record or a batch is too long for any spool with these options to accept.
	ErrTooLong = errors.New("spool: too long")
	// ErrOptions: no spool can be opened in this process with these options.
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
	Records uint64 // Last−First+1 minus the records lost by damage
	Bytes   uint64 // payload bytes
	Gaps    []segment.Range
	Created time.Time // when it became active; names the object's hour
	MinTime time.Time // of the records; zero if there are none
	MaxTime time.Time
	// Lost is what this segment's ledger adds to the losses in the one before it: the manifest's loss lines.
	Lost segment.Losses
	// Filtered and Made are what this segment's ledger adds to these counts: see segment.Ledger.
	Filtered segment.Tally `json:",omitzero"`
	Made     segment.Tally `json:",omitzero"`
	// Unaccounted lists the periods that this segment's ledger adds for which losses are known only as an upper bound.
	Unaccounted []segment.Unaccounted
	// Size of the file.
	Size   int64
	Staged bool
}

// Encoder turns a segment into the output format. Package ship/format has the implementation in use.
type Encoder interface {
	// Encode writes src to dst. If want is nil, it uses the Encoder's own settings; otherwise it must use want, the settings of an
	// earlier stage record. A write to dst can take 10 ms while a UDP listener of the process cannot keep up.
	Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error)
	// Decode returns the uncompressed output that a staged file contains, to compare it with its recorded hash.
	Decode(src io.Reader, e object.Encoding) (io.ReadCloser, error)
}

// StageRecord is the sidecar of a staged file. Both are fsynced before the first Put. The record fixes key and bytes of
// the object permanently. In its JSON, hashes and integers that can exceed 53 bits are strings.
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
	// Header and Footer are copies of the segment's own (base64 in JSON), for use when the segment's own file is gone.
	Header []byte `json:"header"`
	Footer []byte `json:"footer"`
}

// Chain is the state of one destination's manifest chain and, with it, of its deliveries.
type Chain struct {
	// Spool is the spool id under which the chain is written: the spool's own id, until another owner has continued that chain
	// with other records, see Shelf.Leave. Each destination's chain has its own Spool.
	Spool   string   `json:"spool,omitempty"`
	Epoch   uint32   `json:"epoch"`
	Next    uint64   `json:"next"`    // number of the next manifest to write; 0 is the birth manifest
	Hash    [32]byte `json:"hash"`    // SHA-256 of the last manifest's bytes; zero before the first
	Segment uint64   `json:"segment"` // last segment the chain covers, 0: none
	Through uint64   `json:"through"` // last sequence number the chain covers
	Joined  uint64   `json:"joined"`  // first sequence number that this destination must get
	Final   bool     `json:"final"`   // the last manifest was final, or has handed the chain over
	// Before names the manifest whose hash is Hash, if Next is 0: that manifest is in an earlier epoch. Zero if it is not known.
	Before Link `json:"before,omitzero"`
	// ClosedBy is the epoch to which the last manifest has handed the chain over, 0 if it has not.
	ClosedBy uint32 `json:"closed_by,omitempty"`
	// Taken is when the last manifest was written, in Unix nanoseconds, if another owner has written it; 0 if this spool has.
	Taken int64 `json:"taken,omitempty"`
	// Left: another owner continues the chain, and nothing more of this spool will be added to it. Final is set too: no manifest
	// follows before Rename.
	Left bool `json:"left,omitempty"`
	// Stated: the chain that this spool left before this one lists the records of the segment after Segment, so only
	// the losses of that segment are owed.
	Stated bool `json:"stated,omitempty"`
	// Passed: every segment that the chain does not cover was created at or after this time. The spool maintains it, see Idle;
	// Ack ignores it.
	Passed time.Time `json:"passed,omitzero"`
}

// Link names a manifest of a chain.
type Link struct {
	Epoch  uint32 `json:"epoch"`
	Number uint64 `json:"number"`
}

// Last returns the epoch and number of the chain's last manifest; false if there is none, or if they are not known.
func (c *Chain) Last() (Link, bool) {
	if c.Next > 0 {
		return Link{c.Epoch, c.Next - 1}, true
	}
	return c.Before, c.Before != Link{}
}

// Stats is a cheap snapshot.
type Stats struct {
	Spool    string
	Class    string
	Epoch    uint32
	Appended uint64        // last sequence number assigned
	Written  uint64        // last one written to the log (kept)
	Durable  uint64        // last one on stable storage
	Buffered segment.Tally // accepted by Append or Offer, not yet written
	// Rewriting counts records that were written (kept) to a file that has failed since, and must be written again to another file.
	Rewriting segment.Tally
	Segments  int // sealed and still present
	Staged    int
	Used      int64 // bytes of the directory that count against Quota
	Quota     int64
	Full      bool // appends wait or are rejected because there is no room
	// Err is why appends are refused now: a failing disk, or ErrClosed after Close. Nil if they are not refused.
	Err error
	// Panics counts the calls of an Encoder or a Hook that have panicked in this process.
	Panics uint64
	// Untold counts the calls that Hooks have missed because they were too slow.
	Untold uint64
	// Pending counts, for each destination, the records that are not delivered to it yet, sealed or not.
	Pending map[string]segment.Tally
	// Oldest is, for each destination with pending records, the creation time of the oldest segment that it does not have.
	Oldest map[string]time.Time
	// LastAppend is when this process accepted its newest batch, zero before the first.
	LastAppend time.Time
	// Memory is the use of Options.MemoryBytes, and Disk that of the directory's file system.
	Memory Capacity
	Disk   Capacity
	// Times has the durations of calls.
	Times Times
}
