package segment

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Version is the format version this package writes, and the only one it reads.
const Version = 2

// Sizes, in bytes.
const (
	// BlockHeaderSize is the size of the space before a block's payload that Stamp fills in.
	BlockHeaderSize = 32
	// BlockTarget is the length, header included, at which a writer closes a block of records. A larger record
	// has a block of its own.
	BlockTarget = 64 << 10
	// MaxBlock is the largest length of a block: a header, a set of attributes and the largest record. Readers refuse longer blocks,
	// so that a damaged length costs at most this much memory.
	MaxBlock = BlockHeaderSize + itemSize + MaxAttrsSize + maxRecordOverhead + MaxRecord
	// MaxHeader is the largest length of a segment's header.
	MaxHeader = 1 << 20
	// TrailerSize is the length of a sealed segment's last part.
	TrailerSize = 32
	// MaxSize is larger than every segment, since offsets in a segment have 32 bits.
	MaxSize = 1 << 32

	alignment = 16
)

// Errors that callers branch on.
var (
	// ErrCorrupt is wrapped by every error about damaged or foreign bytes.
	ErrCorrupt = errors.New("segment: damaged")
	// ErrVersion is returned for an intact segment of another version of the format.
	ErrVersion = errors.New("segment: of a version that this program does not read")
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Align rounds n up to the next multiple of 16, where the next part of a segment begins.
func Align[T int | int64](n T) T { return (n + alignment - 1) &^ (alignment - 1) }

// zero reports whether b holds zeros only.
func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
