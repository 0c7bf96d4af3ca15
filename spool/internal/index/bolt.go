package index

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/penstock-go/penstock/internal/vfs"
)

const (
	indexBucket = "index"
	// indexLockWait limits the wait for bbolt's own lock; without it bbolt waits indefinitely. The spool's lock is held, so
	// only a mapping that an earlier fault left behind in this process can hold bbolt's.
	indexLockWait = time.Second
	loadChunk     = 1024 // entries that Load copies out of bbolt at a time
)

// boltIndex is an index in a bbolt file.
//
// bbolt maps its file, and an I/O error under a mapping is not an error but a SIGBUS that ends the process. So each call
// runs guarded: faults become panics, panics become ErrLost. The guard is set for the calling goroutine only during the call,
// so no extra goroutine has to be kept, stopped, or waited for when it hangs because of a dead disk.
type boltIndex struct {
	fsys vfs.FS
	dir  string
	log  *slog.Logger

	mu  sync.Mutex
	db  *bbolt.DB // nil once closed or lost
	err error     // what calls return when db is nil
}

var _ Index = (*boltIndex)(nil)

// boltOptions are chosen against stalls and against bbolt's ways to take the process down:
//   - the freelist is stored: without it Open walks the whole file in a goroutine of bbolt's own, where a damaged page
//     causes a panic that no caller can recover (etcd-io/bbolt issues 335, 446);
//   - syncs stay on: without them most power cuts lose acknowledged transactions;
//   - the map covers the index of some hundred thousand segments, so that the file can grow without a new mapping;
//   - pages have one size everywhere, so that a volume can move between machines.
func boltOptions() *bbolt.Options {
	o := &bbolt.Options{
		Timeout:         indexLockWait,
		FreelistType:    bbolt.FreelistMapType,
		PageSize:        boltPage,
		InitialMmapSize: 64 << 20,
		NoStatistics:    true,
		OpenFile:        vfs.OpenRegular, // follows no link
	}
	if runtime.GOOS == "windows" || runtime.GOARCH == "386" || runtime.GOARCH == "arm" {
		o.InitialMmapSize = 0 // it takes disk space on Windows, and scarce addresses on 32-bit machines
	}
	return o
}

// boltGrow is by how many bytes the file grows at a time: bbolt's 16 MiB would count against the spool's quota.
const boltGrow = 1 << 20

// startBolt opens a file that has passed checkFile, or creates a new one.
func startBolt(path string, create bool) (*bbolt.DB, error) {
	var db *bbolt.DB
	err := guard(func() (err error) {
		if db, err = bbolt.Open(path, 0o640, boltOptions()); err != nil {
			return err
		}
		db.AllocSize = boltGrow
		if !create {
			return nil
		}
		return db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte(indexBucket))
			if err != nil {
				return err
			}
			return b.Put([]byte(headerKey), header{format: format}.encode())
		})
	})
	if err != nil {
		leaveBolt(db, err)
		return nil, err
	}
	return db, nil
}

// leaveBolt closes a database after an error, unless a fault has interrupted bbolt. Then bbolt's locks and mapping are never
// released, since touching them again could block or fault.
func leaveBolt(db *bbolt.DB, err error) {
	if _, faulted := errors.AsType[*fault](err); db != nil && !faulted {
		_ = guard(db.Close)
	}
}

// fault is a panic, or a fault of the memory map turned into one, inside bbolt.
type fault struct{ reason any }

func (f *fault) Error() string { return fmt.Sprintf("spool: fault in the index: %v", f.reason) }

// guard runs fn, and returns a panic or a fault of the memory map in it as an error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &fault{reason: r}
		}
	}()
	return fn()
}

// call runs fn on the database. If fn fails, the index is lost: after an error of a commit the file may show a
// transaction that is not on the disk, or may lack one.
func (x *boltIndex) call(fn func(db *bbolt.DB) error) error {
	if x.err != nil {
		return x.err
	}
	db := x.db
	err := guard(func() error { return fn(db) })
	if err == nil {
		return nil
	}
	x.db = nil
	x.err = lost(err)
	x.log.Error("spool: the index is lost; the spool continues without it, and the next start rebuilds it from the segments; no record is concerned: see what the disk reports", "dir", x.dir, "err", err)
	// From here on the file is not updated any more.
	if err := setMark(x.fsys, x.dir); err != nil {
		x.log.Warn("spool: the lost index could not be marked; the next start checks it all the same: see what the disk reports", "dir", x.dir, "err", err)
	}
	leaveBolt(db, err)
	return x.err
}

// Apply implements Index.
func (x *boltIndex) Apply(puts []Entry, deletes []string) error {
	if err := checkKeys(puts, deletes); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(puts)+len(deletes) == 0 {
		return x.err
	}
	return x.call(func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error { return applyBolt(tx, puts, deletes) })
	})
}

// applyBolt changes entries and, in the same transaction, the header, so the header is always correct.
func applyBolt(tx *bbolt.Tx, puts []Entry, deletes []string) error {
	b := tx.Bucket([]byte(indexBucket))
	if b == nil {
		return damaged("the index has no bucket")
	}
	h, err := decodeHeader(b.Get([]byte(headerKey)))
	if err != nil {
		return err
	}
	// The CRC of a replaced entry is subtracted from the sum, so the entry must be the one that was put.
	forget := func(key string) error {
		old := b.Get([]byte(key))
		if old == nil {
			return nil
		}
		_, crc, ok := openValue([]byte(key), old)
		if !ok {
			return damaged("entry %q of the index is damaged", key)
		}
		h.remove(crc)
		return nil
	}
	for _, key := range deletes {
		if err := forget(key); err != nil {
			return err
		}
		if err := b.Delete([]byte(key)); err != nil {
			return err
		}
	}
	for _, p := range puts {
		if err := forget(p.Key); err != nil {
			return err
		}
		h.add(checksum([]byte(p.Key), p.Value))
		if err := b.Put([]byte(p.Key), sealValue(p.Key, p.Value)); err != nil {
			return err
		}
	}
	return b.Put([]byte(headerKey), h.encode())
}

// Load implements Index. fn runs outside of bbolt: its panics are not caught, and do not lose the index.
func (x *boltIndex) Load(fn func(key string, value []byte) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var got header
	for after := headerKey; ; {
		var chunk []Entry
		err := x.call(func(db *bbolt.DB) (err error) {
			chunk, err = readBolt(db, after, &got)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range chunk {
			if err := fn(e.Key, e.Value); err != nil {
				return err
			}
		}
		if len(chunk) < loadChunk {
			return nil
		}
		after = chunk[len(chunk)-1].Key
	}
}

// readBolt returns the next entries after a key, and counts them; after the last one, the count must be right.
func readBolt(db *bbolt.DB, after string, got *header) (chunk []Entry, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(indexBucket))
		if b == nil {
			return damaged("the index has no bucket")
		}
		want, err := decodeHeader(b.Get([]byte(headerKey)))
		if err != nil {
			return err
		}
		c := b.Cursor()
		k, v := c.Seek([]byte(after))
		if string(k) == after {
			k, v = c.Next()
		}
		for ; k != nil && len(chunk) < loadChunk; k, v = c.Next() {
			value, crc, ok := openValue(k, v)
			if !ok {
				return damaged("entry %q of the index is damaged", k)
			}
			got.add(crc)
			chunk = append(chunk, Entry{string(k), bytes.Clone(value)}) // bbolt's memory is invalid after the transaction
		}
		if k == nil && (got.count != want.count || got.sum != want.sum) {
			return damaged("the %d entries of the index do not match its header (%d)", got.count, want.count)
		}
		return nil
	})
	return chunk, err
}

// Close implements Index. Nothing is written: every transaction was on the disk when Apply returned.
func (x *boltIndex) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	db := x.db
	if db == nil {
		return nil
	}
	x.db, x.err = nil, ErrClosed
	return guard(db.Close)
}

func (x *boltIndex) path() string { return filepath.Join(x.dir, FileName) }
