package ship

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// ManifestVersion is the version of the manifest format that this package writes, see the package documentation.
const ManifestVersion = 4

// maxManifestSegments is the largest number of segments that one manifest covers.
const maxManifestSegments = 64

// maxManifest bounds a manifest in bytes. Only a spool whose disk has lost thousands of blocks comes near it.
const maxManifest = 16 << 20

// Manifest is one link of a chain: which segments a destination holds, verified, in sequence order.
type Manifest struct {
	Header   ManifestHeader
	Segments []SegmentLine // ascending, contiguous from Header.PrevLast + 1
	Losses   []LossLine    // ascending by segment
	Footer   ManifestFooter
	// Signature is nil in manifests that are not signed.
	Signature *SignatureLine

	// Hash is the SHA-256 of the manifest's bytes, which the next manifest's header repeats. Set by Encode and
	// DecodeManifest.
	Hash [32]byte
}

// ManifestHeader is the first line.
type ManifestHeader struct {
	Type    string `json:"type"` // "header"
	Version int    `json:"version"`
	Class   string `json:"class"`
	Spool   string `json:"spool"`
	Epoch   uint32 `json:"epoch"`
	// Number counts from 0 in each epoch.
	Number uint64 `json:"number"`
	// Prev is the hash of the previous manifest of this chain; for number 0 that of the last one of the epoch before, or
	// 64 zeros if there is none.
	Prev string `json:"prev"`
	// PrevLast is the last sequence number that the chain covers before this manifest.
	PrevLast uint64 `json:"prev_last"`
	// Joined is the first sequence number that this destination is owed, if that is not 1: it was added, or taken back after
	// it had been given up, when the spool already had a history. Records that are missing before it are not a gap.
	Joined uint64 `json:"joined,omitempty"`
	// Instance names the host that wrote this manifest.
	Instance string `json:"instance"`
	// Destination is the name that the instance knows this destination by. Each has a chain of its own.
	Destination string `json:"destination"`
	// Forgotten names the destinations that the operator has given up.
	Forgotten []string  `json:"forgotten,omitempty"`
	Time      time.Time `json:"time"` // when it was written
}

// SegmentLine states that the destination holds the records of one segment. It is the same at every destination, apart
// from the receipt.
type SegmentLine struct {
	Type    string `json:"type"`    // "segment"
	Segment uint64 `json:"segment"` // number of the segment in its spool
	First   uint64 `json:"first"`   // sequence numbers, inclusive
	Last    uint64 `json:"last"`
	Records uint64 `json:"records"` // Last − First + 1 − gaps
	Bytes   uint64 `json:"bytes"`   // payload bytes of the records
	// Gaps are damaged records: kept, but no longer readable when the segment was staged.
	Gaps []segment.Range `json:"gaps,omitempty"`
	// Whole is set if the line states only the rest of a segment: its first records are in an object that another owner's
	// chain names. If all of them are, Last is First − 1, and there is no object.
	Whole   *Whole    `json:"whole,omitempty"`
	MinTime time.Time `json:"min_time,omitzero"` // arrival times of the records
	MaxTime time.Time `json:"max_time,omitzero"`
	// Key of the object below the destination's prefix. It and all that follows is left out if all records are damaged:
	// there is no object then.
	Key       string `json:"key,omitempty"`
	Format    string `json:"format,omitempty"` // see package ship/format
	Codec     string `json:"codec,omitempty"`  // see package compress
	Level     int    `json:"level,omitempty"`
	RawBytes  int64  `json:"raw_bytes,omitempty"`  // of the uncompressed output
	RawSHA256 string `json:"raw_sha256,omitempty"` // of the uncompressed output, hex
	// Size and hashes of the bytes that were staged. The object has them too, with one exception: if the key already held
	// another compression of the same output, the receipt alone describes the object.
	Size      int64    `json:"size,omitempty"`
	SHA256    string   `json:"sha256,omitempty"`
	CRC64NVME string   `json:"crc64nvme,omitempty"` // 16 hex digits
	Receipt   *Receipt `json:"receipt,omitempty"`
}

// Encoding returns how the object is encoded.
func (s *SegmentLine) Encoding() object.Encoding {
	return object.Encoding{Format: s.Format, Codec: s.Codec, Level: s.Level}
}

// Whole describes the complete segment of a line that states only the rest. At another destination it may be one object.
type Whole struct {
	First uint64 `json:"first"` // sequence number; the last one is that of the line
	// Gaps are the damaged records of the whole segment.
	Gaps []segment.Range `json:"gaps,omitempty"`
	// RawSHA256 is that of the whole segment's uncompressed output, hex; left out if no record of it was readable.
	RawSHA256 string `json:"raw_sha256,omitempty"`
}

// LossLine states what was lost while a segment was active, before it could be kept, and what was dropped or made on
// purpose.
type LossLine struct {
	Type    string         `json:"type"` // "loss"
	Segment uint64         `json:"segment"`
	After   uint64         `json:"after"` // the segment's last sequence number: where in the sequence the loss is accounted
	Lost    segment.Losses `json:"lost"`
	// Filtered and Made are what was dropped and made on purpose: see segment.Ledger.
	Filtered segment.Tally `json:"filtered,omitzero"`
	Made     segment.Tally `json:"made,omitzero"`
	// Unaccounted are periods before this segment for which the loss can only be bounded, because the process or the machine
	// died.
	Unaccounted []segment.Unaccounted `json:"unaccounted,omitempty"`
}

// ManifestFooter is the last line, apart from the signature: a manifest without it is cut off.
type ManifestFooter struct {
	Type     string `json:"type"`     // "footer"
	Segments int    `json:"segments"` // number of segment lines
	Losses   int    `json:"losses"`   // number of loss lines
	Segment  uint64 `json:"segment"`  // last segment that the chain covers now, 0 for none
	Last     uint64 `json:"last"`     // last sequence number that the chain covers now
	// Passed: every segment that the chain does not cover yet begins at this time or later, so that no object will follow in
	// the folder of an earlier hour. Written when an epoch begins, and once an hour while no records arrive; otherwise each
	// object shows the same for the hours before its own.
	Passed time.Time `json:"passed,omitzero"`
	// Final: this destination holds every record that the spool ever kept (from Joined on), and every loss count. Nothing
	// follows in this epoch.
	Final bool `json:"final,omitempty"`
	// ClosedBy: another host or an adopter continues the chain in a later epoch. Nothing follows in this one.
	ClosedBy *Owner `json:"closed_by,omitempty"`
	// SHA256 of all bytes before this line, and of this line with an empty sha256: so damage to the last manifest is detected
	// even without a successor.
	SHA256 string `json:"sha256"`
}

// sum returns what the footer's SHA256 must be, in hex. h has hashed the lines before it.
func (f ManifestFooter) sum(h hash.Hash) (string, error) {
	f.SHA256 = ""
	line, err := json.Marshal(&f)
	h.Write(append(line, '\n'))
	return hex.EncodeToString(h.Sum(nil)), err
}

// Owner names the new writer of a chain.
type Owner struct {
	Instance string `json:"instance"`
	Epoch    uint32 `json:"epoch"`
	// Claim is 32 hexadecimal digits that no other claim has.
	Claim string `json:"claim,omitempty"`
}

// next returns the state of the chain once this manifest is at the destination.
func (m *Manifest) next(before spool.Chain) spool.Chain {
	c := before
	c.Epoch, c.Next, c.Hash = m.Header.Epoch, m.Header.Number+1, m.Hash
	// Never go back: a manifest that was found again may list segments that were deleted long ago.
	if m.Footer.Segment > c.Segment {
		c.Segment, c.Stated = m.Footer.Segment, false
	}
	c.Through = max(c.Through, m.Footer.Last)
	c.Final, c.ClosedBy, c.Taken = m.Footer.Final, 0, 0
	if by := m.Footer.ClosedBy; by != nil {
		c.Final, c.ClosedBy = true, by.Epoch
	}
	return c
}

// segmentLine returns the line of a delivered segment. It cleans the receipt, so that no value in it can stop the chain.
func segmentLine(rec *spool.StageRecord, r Receipt) SegmentLine {
	r.Checksum, r.Method, r.Version = clean(r.Checksum), cmp.Or(clean(r.Method), "unnamed"), clean(r.Version)
	r.Degraded = slices.Clone(r.Degraded)
	for i := range r.Degraded {
		r.Degraded[i] = clean(r.Degraded[i])
	}
	if r.Time = r.Time.UTC(); r.Time.Year() < 1 || r.Time.Year() > 9999 {
		r.Time = time.Time{} // JSON has no such years
	}
	return SegmentLine{
		Segment: rec.Segment, First: rec.First, Last: rec.Last, Records: rec.Records, Bytes: rec.Bytes, Gaps: rec.Gaps,
		MinTime: rec.MinTime.UTC(), MaxTime: rec.MaxTime.UTC(),
		Key: rec.Key, Format: rec.Format, Codec: rec.Codec, Level: rec.Level,
		RawBytes: rec.RawBytes, RawSHA256: rec.RawSHA256, Size: rec.Size, SHA256: rec.SHA256, CRC64NVME: rec.CRC64NVME,
		Receipt: &r,
	}
}

// clean replaces characters that JSON writers escape differently, in a string that a destination or an operator chose.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) {
			return '?'
		}
		return r
	}, s)
}

func isClean(s string) bool { return s == clean(s) }

// Encode returns the manifest's bytes. It fills in the types, the version, the footer's counts and hash, and m.Hash;
// everything else must be valid.
func (m *Manifest) Encode() ([]byte, error) {
	m.Header.Type, m.Header.Version = "header", ManifestVersion
	m.Footer.Type, m.Footer.Segments, m.Footer.Losses = "footer", len(m.Segments), len(m.Losses)
	var b bytes.Buffer
	var errs []error
	line := func(v any) {
		js, err := json.Marshal(v)
		if len(js) >= maxManifestLine {
			err = fmt.Errorf("line of %d bytes", len(js))
		}
		errs = append(errs, err)
		b.Write(js)
		b.WriteByte('\n')
	}
	line(&m.Header)
	losses := m.Losses
	for i := range m.Segments {
		s := &m.Segments[i]
		s.Type = "segment"
		for len(losses) > 0 && losses[0].Segment < s.Segment {
			losses[0].Type = "loss"
			line(&losses[0])
			losses = losses[1:]
		}
		line(s)
	}
	for i := range losses {
		losses[i].Type = "loss"
		line(&losses[i])
	}
	h := sha256.New()
	h.Write(b.Bytes())
	sum, err := m.Footer.sum(h)
	errs = append(errs, err)
	m.Footer.SHA256 = sum
	line(&m.Footer)
	if m.Signature != nil {
		m.Signature.Type = "signature"
		line(m.Signature)
	}
	m.Hash = sha256.Sum256(b.Bytes())
	if err := errors.Join(append(errs, m.validate())...); err != nil {
		return nil, fmt.Errorf("ship: manifest %d: %w", m.Header.Number, err)
	}
	return b.Bytes(), nil
}
