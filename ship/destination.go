package ship

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"
)

// Errors that callers branch on. Absence is fs.ErrNotExist.
var (
	// ErrConflict: the key is taken by other bytes. They are never overwritten; the shipper checks again from time to time.
	ErrConflict = errors.New("ship: key is taken by other bytes")
	// ErrFenced: another owner has written the next manifest of this chain.
	ErrFenced = errors.New("ship: chain is continued by another owner")
	// ErrVerify: the destination's own account of an object does not match what was sent, or the bytes that it returns do not
	// match its own checksum of them.
	ErrVerify = errors.New("ship: object at destination does not match")
	// ErrIdentity: the destination does not identify itself as the one that is known, such as an SFTP server with another host
	// key. Nothing was sent.
	ErrIdentity = errors.New("ship: destination has another identity")
	// ErrIncomplete: records are still pending.
	ErrIncomplete = errors.New("ship: not everything is delivered")
)

// Object describes what is to be stored: its key, and everything that a destination may need to verify it.
type Object struct {
	// Key below the destination's prefix. Every destination refuses a key that CheckKey refuses.
	Key  string
	Size int64
	// SHA256 and CRC64NVME of the stored bytes.
	SHA256          [32]byte
	CRC64NVME       uint64
	ContentType     string
	ContentEncoding string
	// Spool id, for the names of temporary files (`_tmp/<spool>/`).
	Spool string
	// New: as far as the caller knows, nothing was ever sent under this key. A destination that can create an object only if
	// the key is free may then send it without looking first. The promises of Put remain the same.
	New bool
}

// Receipt is a destination's own confirmation that it holds an object.
type Receipt struct {
	Size int64 `json:"size"`
	// Checksum as the destination gave it, or as computed from the bytes read back: "crc64nvme:<16 hex>" or "sha256:<64
	// hex>". Object.Check accepts no other: from a destination that keeps another checksum, the object is read back.
	Checksum string `json:"checksum"`
	// Method says how it was verified: "head" (the store's own full-object checksum, which an audit must find in
	// Stat again), "remote-sha256sum" (or another hash command), "read-back", "hash-on-write" (of a local file), and "size" from a
	// Stat that compares no checksum.
	Method string    `json:"method"`
	Time   time.Time `json:"time"`
	// Version of the object, where the store has versions.
	Version string `json:"version,omitempty"`
	// Degraded names guarantees that this destination cannot give ("no-fsync", "no-hardlink", …).
	Degraded []string `json:"degraded,omitempty"`
}

// Destination stores objects. Package shiptest has the suite that every implementation passes; its rules:
//
//   - Put stores exactly body under o.Key if nothing is there, and returns only once the destination's own account of size
//     and checksum matches; a nil error is a promise that the bytes are durable there. It reads body from its beginning,
//     wherever its offset is. Bytes that do not match o are never published. If the key already holds the same bytes (by
//     their SHA-256, since anybody can make other bytes with the same CRC) it returns that object's receipt: a lost response is
//     repaired by calling again. If it holds other bytes, Put returns ErrConflict and changes nothing. A key never shows
//     partial content.
//   - Stat asks the store about an object each time, and never answers from memory. A destination that keeps no checksum may
//     return a Receipt with an empty Checksum: then Verify asks by Put, which compares the bytes. fs.ErrNotExist: not there.
//   - Open reads an object. fs.ErrNotExist: not there. A destination that verifies the bytes as they are read reports damage by
//     an error of Read that wraps ErrVerify. Any other error of Read means that the object could not be read for now.
//
// All methods honour ctx and end within a bounded time when the peer stalls. They are safe for concurrent use. Errors that
// only an operator can cure (credentials, permissions, a missing bucket, an unknown host key) are wrapped with Permanent and
// say what to do; all other errors are treated as transient.
type Destination interface {
	Put(ctx context.Context, o Object, body *io.SectionReader) (Receipt, error)
	Stat(ctx context.Context, key string) (Receipt, error)
	Open(ctx context.Context, key string) (io.ReadCloser, error)
}

// Lister is implemented by destinations that can list their objects: auditors and checks need it.
type Lister interface {
	// List yields the objects whose keys begin with prefix, in byte order of their keys, keys relative to the
	// destination's prefix. Temporary files are not listed; markers of folders may be (see Entry.IsFolder). The iteration
	// ends at the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
}

// ListerAfter is implemented by destinations that can begin a listing in the middle without reading what comes before: an
// auditor that watches a destination then asks only for what may be new.
type ListerAfter interface {
	// ListAfter is List without the keys up to and including after.
	ListAfter(ctx context.Context, prefix, after string) iter.Seq2[Entry, error]
}

// Entry is one listed object.
type Entry struct {
	Key  string
	Size int64
}

// IsFolder reports whether the entry is no object but the marker of a folder: an empty one whose key ends in a slash, as
// the S3 console, AWS Transfer Family and s3fs make them, or in "_$folder$", as Hadoop does. No object has such a key, and an
// empty one holds no record.
func (e Entry) IsFolder() bool {
	return e.Size == 0 && (strings.HasSuffix(e.Key, "/") || strings.HasSuffix(e.Key, "_$folder$"))
}

// Checker is implemented by destinations that can tell early whether they are usable.
type Checker interface {
	// Check reaches the destination, authenticates, and proves that it can be written to. Its error says what to do.
	Check(ctx context.Context) error
}

// Locator is implemented by destinations that know where they are, so that two names for one place can be refused.
type Locator interface {
	// Location is a canonical name of the place, without secrets: "s3://bucket/prefix at https://endpoint".
	Location() string
}

// Permanent marks an error that no retry will cure. The shipper logs it, parks the destination, and probes it from time to
// time.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }
