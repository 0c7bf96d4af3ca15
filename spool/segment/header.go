package segment

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

const (
	// headerFixed is the offset of the JSON. The fields before it have fixed positions, so that they can be read in
	// a hex dump, without a JSON parser.
	headerFixed = 128
)

// Magic is the beginning of every segment.
const Magic = "PNSTKSEG"

var headerMagic = [8]byte([]byte(Magic))

// Header is the beginning of a segment. It is written once, when the segment becomes active.
type Header struct {
	// Version of the format; EncodeHeader always writes the current one.
	Version uint16
	// Generation is random, and new for each use of a file: see NewGeneration.
	Generation uint64
	// Segment is the segment's number in its spool, from 1.
	Segment uint64
	// First is the sequence number of the first record that will be written here, from 1.
	First uint64
	// Created is when the segment became active, with nanoseconds, UTC. It names the object's hour permanently.
	Created time.Time
	// Spool is the spool's id: 26 characters of [0-9a-z].
	Spool string
	// Epoch of the spool, from 1.
	Epoch uint32
	// Class of traffic, [a-z0-9_]{1,32}.
	Class string
	// Instance names the host that wrote the segment.
	Instance string
	// Ledger when the segment became active.
	Ledger Ledger
	// Len is the header's length in bytes, the offset of the first block. EncodeHeader sets it.
	Len int
}

// headerJSON is the part of the header that has no fixed length.
type headerJSON struct {
	Instance string `json:"instance"`
	Ledger   Ledger `json:"ledger"`
}

// NewGeneration returns a random generation.
func NewGeneration() uint64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
		// The low half marks blocks. It is not zero, so that a search skips zeros quickly.
		if g := le.Uint64(b[:]); uint32(g) != 0 {
			return g
		}
	}
}

// EncodeHeader returns the header's bytes, padded with zeros to a multiple of pad, which is a multiple of 16 (0: 16),
// and sets h.Len and h.Version. The error lists every field that violates the format.
func EncodeHeader(h *Header, pad int) ([]byte, error) {
	if pad == 0 {
		pad = alignment
	}
	if pad < 0 || pad%alignment != 0 {
		return nil, fmt.Errorf("segment: header padding of %d bytes is no multiple of %d", pad, alignment)
	}
	if err := h.validate(); err != nil {
		return nil, err
	}
	js, err := json.Marshal(headerJSON{h.Instance, h.Ledger})
	if err != nil {
		return nil, fmt.Errorf("segment: encode header: %w", err)
	}
	n := (headerFixed + len(js) + pad - 1) / pad * pad
	if n > MaxHeader {
		return nil, fmt.Errorf("segment: header of %d bytes exceeds %d: its ledger is too large", n, MaxHeader)
	}
	h.Version, h.Len = Version, n
	b := make([]byte, n)
	copy(b, headerMagic[:])
	le.PutUint16(b[8:], Version)
	le.PutUint32(b[12:], uint32(n))
	le.PutUint32(b[20:], uint32(len(js)))
	le.PutUint64(b[24:], h.Generation)
	le.PutUint64(b[32:], h.Segment)
	le.PutUint64(b[40:], h.First)
	le.PutUint64(b[48:], uint64(h.Created.UnixNano()))
	copy(b[56:], h.Spool)
	le.PutUint32(b[84:], h.Epoch)
	b[88] = byte(len(h.Class))
	copy(b[89:], h.Class)
	copy(b[headerFixed:], js)
	le.PutUint32(b[16:], headerSum(b, n))
	return b, nil
}

// headerSum returns the checksum of a header of n bytes. Bytes missing in b count as zeros, because copies of a header have
// no padding.
func headerSum(b []byte, n int) uint32 {
	b = b[:min(len(b), n)]
	sum := crc32.Update(0, castagnoli, b[:16])
	sum = crc32.Update(sum, castagnoli, b[20:])
	for n -= len(b); n > 0; n -= min(n, len(zeros)) {
		sum = crc32.Update(sum, castagnoli, zeros[:min(n, len(zeros))])
	}
	return sum
}

// zeros replace the missing padding of a copy.
var zeros [4096]byte

// trimHeader cuts the padding from an intact header.
func trimHeader(b []byte) []byte { return b[:headerFixed+int(le.Uint32(b[20:]))] }

// DecodeHeader decodes a header from the start of b. The padding at its end may be missing, as it is in the copies in
// footers and stage records. The error is ErrVersion for an intact header of another version, and says which program
// reads it; it is ErrCorrupt for anything else that is wrong.
func DecodeHeader(b []byte) (*Header, error) {
	if len(b) < headerFixed {
		return nil, fmt.Errorf("%w: %d bytes are too few for a segment header", ErrCorrupt, len(b))
	}
	if !bytes.Equal(b[:8], headerMagic[:]) {
		return nil, fmt.Errorf("%w: not a segment: it does not begin with %q", ErrCorrupt, headerMagic)
	}
	n := int64(le.Uint32(b[12:]))
	if n < headerFixed || n > MaxHeader || n%alignment != 0 {
		return nil, fmt.Errorf("%w: impossible header length %d", ErrCorrupt, n)
	}
	// Check the checksum before the version: magic, version, length and checksum have the same places in every version. So a
	// flipped bit is never reported as another version, for which the operator would look for another program.
	if headerSum(b, int(n)) != le.Uint32(b[16:]) {
		return nil, fmt.Errorf("%w: header checksum differs", ErrCorrupt)
	}
	if v := le.Uint16(b[8:]); v != Version && v > 0 {
		cure := "use a newer program"
		if v < Version {
			cure = "drain it with the program that wrote it"
		}
		return nil, fmt.Errorf("%w: it has format version %d, and this program reads version %d: %s", ErrVersion, v, Version, cure)
	}
	h, err := decodeHeader(b[:min(int64(len(b)), n)])
	if err != nil {
		return nil, err
	}
	h.Len = int(n)
	return h, nil
}

// decodeHeader decodes the fields of a header whose checksum is right. It checks them nevertheless: another program may have written
// the header, and its names become parts of paths and keys.
func decodeHeader(b []byte) (*Header, error) {
	js := int64(le.Uint32(b[20:]))
	class := int(b[88])
	if int64(len(b)) < headerFixed+js || class > maxClass || le.Uint16(b[8:]) == 0 {
		return nil, fmt.Errorf("%w: impossible lengths in the header", ErrCorrupt)
	}
	end := headerFixed + js
	if !zero(b[10:12]) || !zero(b[82:84]) || !zero(b[89+class:headerFixed]) || !zero(b[end:]) {
		return nil, fmt.Errorf("%w: header fields that must be zero are not", ErrCorrupt)
	}
	var j headerJSON
	if err := json.Unmarshal(b[headerFixed:end], &j); err != nil {
		return nil, fmt.Errorf("%w: header: %v", ErrCorrupt, err)
	}
	h := &Header{
		Version:    le.Uint16(b[8:]),
		Generation: le.Uint64(b[24:]),
		Segment:    le.Uint64(b[32:]),
		First:      le.Uint64(b[40:]),
		Created:    time.Unix(0, int64(le.Uint64(b[48:]))).UTC(),
		Spool:      string(b[56 : 56+SpoolIDLen]),
		Epoch:      le.Uint32(b[84:]),
		Class:      string(b[89 : 89+class]),
		Instance:   j.Instance,
		Ledger:     j.Ledger,
	}
	if err := h.validate(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return h, nil
}

// validate returns one error for all invalid fields, so that a caller sees them together.
func (h *Header) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("segment: header: "+format, args...)) }
	if uint32(h.Generation) == 0 {
		bad("generation %#x: the low 32 bits must not be zero", h.Generation)
	}
	if h.Segment == 0 {
		bad("segment numbers start at 1")
	}
	if h.First == 0 {
		bad("sequence numbers start at 1")
	}
	if !time.Unix(0, h.Created.UnixNano()).Equal(h.Created) {
		bad("created %v is not within the years 1678 to 2262, as Unix nanoseconds are", h.Created)
	}
	if h.Epoch == 0 {
		bad("epochs start at 1")
	}
	return errors.Join(append(errs, CheckSpoolID(h.Spool), CheckClass(h.Class))...)
}
