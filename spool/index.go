package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"

	"github.com/penstock-go/penstock/internal/vfs"
)

// index remembers what opening would else have to read from every segment. It is never the only place of anything: when
// it is lost, the spool goes on from its files. Methods may be called from any goroutine; they take turns.
type index interface {
	// Load calls fn with every entry, in the order of keys. fn may keep the value; its error ends Load and is returned.
	Load(fn func(key string, value []byte) error) error
	// Apply deletes, then puts, as one transaction: wholly or not at all, and on stable storage when it returns nil.
	Apply(puts []kv, deletes []string) error
	// Close releases the file. Idempotent, and nil for a lost index.
	Close() error
}

// kv is an entry of an index: a key of 1 to maxIndexKey bytes that does not begin with a zero byte, and its value.
type kv struct {
	key   string
	value []byte
}

// openIndexFunc opens the index of the spool in dir, whose lock the caller holds. rebuild says that the index is empty
// since there was none, or none that could be believed: the caller fills it from its files.
//
// errIndexLost: there is no index to be had now, and the spool can do without. errNewer: a newer program made it.
type openIndexFunc func(fsys vfs.FS, dir string, log *slog.Logger) (ix index, rebuild bool, err error)

var (
	// errIndexLost ends an index: after it every call returns it again. Opening anew gives an empty one to be rebuilt.
	errIndexLost = errors.New("spool: index lost")
	// errNewer: a file was written by a newer version of this program.
	errNewer = errors.New("spool: made by a newer version of this program; use that, or one newer still")
	// errOlder: a spool was written by an older version of this program, which does not continue what that has begun.
	errOlder = errors.New("spool: made by an older version of this program: drain it with the program that wrote it, and give " +
		"this one another directory")
)

const (
	indexName     = "index.db"
	indexFormat   = 1
	maxIndexKey   = 256
	maxIndexValue = 1 << 20
)

// checkKeys refuses what no index takes, before it touches one: a mistake of the caller's must not cost the index.
func checkKeys(puts []kv, deletes []string) error {
	for _, p := range puts {
		if err := checkKey(p.key); err != nil {
			return err
		}
		if len(p.value) > maxIndexValue {
			return fmt.Errorf("spool: index value of %q has %d bytes, at most %d are allowed", p.key, len(p.value), maxIndexValue)
		}
	}
	for _, k := range deletes {
		if err := checkKey(k); err != nil {
			return err
		}
	}
	return nil
}

// checkKey keeps the first byte zero for the index's own entry, which so sorts before all others.
func checkKey(k string) error {
	if len(k) == 0 || len(k) > maxIndexKey || k[0] == 0 {
		return fmt.Errorf("spool: index key %q: 1 to %d bytes are allowed, the first not zero", k, maxIndexKey)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealValue puts a CRC-32C over key and value before the value. bbolt has no checksum on anything but its two meta pages, so
// without it a flipped bit in a value would be believed.
func sealValue(key string, value []byte) []byte {
	b := make([]byte, 4, 4+len(value))
	b = append(b, value...)
	binary.LittleEndian.PutUint32(b, valueCRC([]byte(key), value))
	return b
}

// openValue returns the value in a sealed one, which it shares memory with, and its CRC.
func openValue(key, sealed []byte) (value []byte, crc uint32, ok bool) {
	if len(sealed) < 4 {
		return nil, 0, false
	}
	crc = binary.LittleEndian.Uint32(sealed)
	value = sealed[4:]
	return value, crc, crc == valueCRC(key, value)
}

// valueCRC covers the key's length too, so that no byte can change sides.
func valueCRC(key, value []byte) uint32 {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(key)))
	crc := crc32.Update(0, castagnoli, n[:])
	crc = crc32.Update(crc, castagnoli, key)
	return crc32.Update(crc, castagnoli, value)
}

// indexHeader is the value of headerKey: how many entries there must be, and the sum of their CRCs. Each transaction
// brings it up to date, so that entries that vanish, or come back from an older page, are noticed although each is
// whole in itself.
type indexHeader struct {
	format uint32
	count  uint64
	sum    uint64
}

// headerKey sorts before every key of an entry.
const headerKey = "\x00"

func (h indexHeader) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, h.format)
	b = binary.LittleEndian.AppendUint64(b, h.count)
	b = binary.LittleEndian.AppendUint64(b, h.sum)
	return sealValue(headerKey, b)
}

// decodeIndexHeader looks at the version before anything that a newer one may have changed.
func decodeIndexHeader(sealed []byte) (indexHeader, error) {
	b, _, ok := openValue([]byte(headerKey), sealed)
	if !ok || len(b) < 4 {
		return indexHeader{}, damaged("the header of the index is damaged")
	}
	h := indexHeader{format: binary.LittleEndian.Uint32(b)}
	switch {
	case h.format > indexFormat:
		return h, fmt.Errorf("%w: %s has format %d, this one knows %d", errNewer, indexName, h.format, indexFormat)
	case h.format == 0 || len(b) != 20:
		return h, damaged("the header of the index is damaged")
	}
	h.count = binary.LittleEndian.Uint64(b[4:])
	h.sum = binary.LittleEndian.Uint64(b[12:])
	return h, nil
}

// add and remove count an entry in and out.
func (h *indexHeader) add(crc uint32)    { h.count++; h.sum += uint64(crc) }
func (h *indexHeader) remove(crc uint32) { h.count--; h.sum -= uint64(crc) }

// damage says that the index's file cannot be believed.
type damage string

func (d damage) Error() string { return "spool: " + string(d) }

func damaged(format string, args ...any) error { return damage(fmt.Sprintf(format, args...)) }
