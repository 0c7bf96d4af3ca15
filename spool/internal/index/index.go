// Package index stores a description of each sealed segment of a spool in one file, so that opening the spool does not have to read
// every segment. The index holds nothing that the spool's other files do not: if it is lost, the spool continues from those and
// fills a new one.
//
// [Open] opens the index of a directory, with bbolt; [Preview] reads it and changes nothing. [Mem] is a test double for spools in
// memory, and [None] replaces an index that cannot be opened. The file is checked byte by byte before bbolt maps it (check.go),
// and every call into bbolt is guarded against faults of the memory map (bolt.go), because damage or a fault would otherwise end
// the process.
//
// # The way through the files
//
// preview.go reads an index that must not be changed. mem.go is the double, plain.go the index in a file system of vfs.Mount.
// open.go opens bbolt's file, and sets a file aside that cannot be trusted. bolt.go reads
// and writes entries. check.go checks the file, with walk.go for its tree. mark.go has the mark that makes a file suspect.
// index.go has the interface, and the entries' format.
package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// Index maps keys to values. Methods may be called from any goroutine; one runs at a time.
type Index interface {
	// Load calls fn with every entry, in the order of keys. fn may keep the value; its error ends Load and is returned.
	Load(fn func(key string, value []byte) error) error
	// Apply deletes, then puts, as one transaction: completely or not at all, and on stable storage when it returns nil.
	Apply(puts []Entry, deletes []string) error
	// Close releases the file. It is idempotent, and returns nil for a lost index.
	Close() error
}

// Entry is a key of 1 to maxKey bytes that does not begin with a zero byte, and its value.
type Entry struct {
	Key   string
	Value []byte
}

// OpenFunc opens the index of the spool in dir, whose lock the caller holds. rebuild reports that the index is empty because
// there was none, or none that could be trusted: the caller fills it from the spool's files.
//
// ErrLost: no index can be opened now, and the spool can continue without one. statefile.ErrNewer: a newer program made it.
type OpenFunc func(fsys vfs.FS, dir string, log *slog.Logger) (ix Index, rebuild bool, err error)

var (
	// ErrLost means that the index is lost: every later call returns it again. Opening again gives an empty index, to be rebuilt.
	ErrLost = errors.New("spool: index lost")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("spool: index closed")
)

// None replaces an index that cannot be opened: the next Open of the spool reads the segments instead.
type None struct{}

var _ Index = None{}

// Load finds nothing.
func (None) Load(func(string, []byte) error) error { return nil }

// Apply returns ErrLost.
func (None) Apply([]Entry, []string) error { return ErrLost }

// Close does nothing.
func (None) Close() error { return nil }

// FileName is the name of the index's file in the spool's directory.
const FileName = "index.db"

const (
	format   = 1
	maxKey   = 256
	maxValue = 1 << 20
)

// checkKeys refuses invalid keys and values before the index is touched, so that a mistake of the caller does not lose the index.
func checkKeys(puts []Entry, deletes []string) error {
	for _, p := range puts {
		if err := checkKey(p.Key); err != nil {
			return err
		}
		if len(p.Value) > maxValue {
			return fmt.Errorf("spool: index value of %q has %d bytes, at most %d are allowed", p.Key, len(p.Value), maxValue)
		}
	}
	for _, k := range deletes {
		if err := checkKey(k); err != nil {
			return err
		}
	}
	return nil
}

// checkKey refuses invalid keys. A first byte of zero is reserved for the index's own entry, which so sorts before all others.
func checkKey(k string) error {
	if len(k) == 0 || len(k) > maxKey || k[0] == 0 {
		return fmt.Errorf("spool: index key %q: 1 to %d bytes are allowed, the first not zero", k, maxKey)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealValue puts a CRC-32C over key and value before the value. bbolt has checksums only on its two meta pages, so
// without this one a flipped bit in a value would go unnoticed.
func sealValue(key string, value []byte) []byte {
	b := make([]byte, 4, 4+len(value))
	b = append(b, value...)
	binary.LittleEndian.PutUint32(b, checksum([]byte(key), value))
	return b
}

// openValue returns the value in a sealed one, and its CRC. The value shares memory with sealed.
func openValue(key, sealed []byte) (value []byte, crc uint32, ok bool) {
	if len(sealed) < 4 {
		return nil, 0, false
	}
	crc = binary.LittleEndian.Uint32(sealed)
	value = sealed[4:]
	return value, crc, crc == checksum(key, value)
}

// checksum covers the key's length too, so that moving bytes between key and value changes it.
func checksum(key, value []byte) uint32 {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(key)))
	crc := crc32.Update(0, castagnoli, n[:])
	crc = crc32.Update(crc, castagnoli, key)
	return crc32.Update(crc, castagnoli, value)
}

// header is the value of headerKey: how many entries there must be, and the sum of their CRCs. Each transaction
// updates it, so that entries that vanish, or come back from an older page, are noticed although each one is
// valid by itself.
type header struct {
	format uint32
	count  uint64
	sum    uint64
}

// headerKey sorts before every key of an entry.
const headerKey = "\x00"

func (h header) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, h.format)
	b = binary.LittleEndian.AppendUint64(b, h.count)
	b = binary.LittleEndian.AppendUint64(b, h.sum)
	return sealValue(headerKey, b)
}

// decodeHeader decodes a header. It checks the format first, since a newer format may have changed everything else.
func decodeHeader(sealed []byte) (header, error) {
	b, _, ok := openValue([]byte(headerKey), sealed)
	if !ok || len(b) < 4 {
		return header{}, damaged("the header of the index is damaged")
	}
	h := header{format: binary.LittleEndian.Uint32(b)}
	switch {
	case h.format > format:
		return h, fmt.Errorf("%w: %s has format %d, this one knows %d", statefile.ErrNewer, FileName, h.format, format)
	case h.format == 0 || len(b) != 20:
		return h, damaged("the header of the index is damaged")
	}
	h.count = binary.LittleEndian.Uint64(b[4:])
	h.sum = binary.LittleEndian.Uint64(b[12:])
	return h, nil
}

// add and remove add an entry to the header, and remove it.
func (h *header) add(crc uint32)    { h.count++; h.sum += uint64(crc) }
func (h *header) remove(crc uint32) { h.count--; h.sum -= uint64(crc) }

// damage is an error that says that the index's file cannot be trusted.
type damage string

func (d damage) Error() string { return "spool: " + string(d) }

func damaged(format string, args ...any) error { return damage(fmt.Sprintf(format, args...)) }

// lost wraps err in ErrLost, after which the spool can continue.
func lost(err error) error { return fmt.Errorf("%w: %w", ErrLost, err) }

func isDamage(err error) bool {
	_, ok := errors.AsType[damage](err)
	return ok
}
