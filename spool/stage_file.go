package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/minio/crc64nvme"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
)

// staged describes the output of an Encoder, and the file in which it is stored.
type staged struct {
	object.Encoded
	size   int64
	sha256 []byte
	crc64  uint64 // CRC-64/NVME, which Amazon S3 stores for whole objects
}

// stageTo writes the output of encode to a new file, hashes and syncs it. After a failure it removes the file and gives its bytes
// back to the quota.
func (s *Shelf) stageTo(number uint64, path string, encode func(io.Writer) (object.Encoded, error)) (out staged, err error) {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	f, err := s.fs.Create(path)
	if err != nil {
		return out, err
	}
	w := stageWriter{space: s.space, number: number, f: f, buf: make([]byte, 0, 256<<10), sha: sha256.New(), crc: crc64nvme.New()}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = s.fs.Remove(path)
			s.space.used(-w.off)
		}
	}()
	if out.Encoded, err = encode(&w); err != nil {
		return out, err
	}
	if err = w.flush(); err != nil {
		return out, err
	}
	if err = f.Sync(); err != nil {
		return out, err
	}
	out.size, out.sha256, out.crc64 = w.off, w.sha.Sum(nil), w.crc.Sum64()
	return out, nil
}

// stageWriter is a Writer to a file that buffers, hashes, and counts bytes against the quota.
type stageWriter struct {
	space  *space
	number uint64 // of the segment
	f      vfs.File
	buf    []byte
	off    int64
	sha    hash.Hash
	crc    hash.Hash64
}

func (w *stageWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		k := copy(w.buf[len(w.buf):cap(w.buf)], p)
		w.buf = w.buf[:len(w.buf)+k]
		p = p[k:]
		n += k
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (w *stageWriter) flush() error {
	if err := w.space.grow(w.number, int64(len(w.buf))); err != nil {
		return err
	}
	w.off += int64(len(w.buf))
	if _, err := w.f.WriteAt(w.buf, w.off-int64(len(w.buf))); err != nil {
		return err
	}
	w.sha.Write(w.buf)
	w.crc.Write(w.buf)
	w.buf = w.buf[:0]
	return nil
}

// noteDamage records which records the new staged file of a segment lacks, before they are delivered as a gap: a delivered segment is
// deleted, and the note keeps its damaged file. If there is an earlier staged file that cannot be used, because it or its record is
// damaged, it may be the only copy of records that the segment's own file has lost since: so it is set aside, not replaced.
func (s *Shelf) noteDamage(before, after sealed, old *StageRecord, out staged) error {
	n := before.Number
	lacks := out.Records < before.Records || old != nil && out.Records < old.Records
	// If Open found the segment's file damaged, before.Records is what is left there, and without the stage record nothing says how
	// many records the staged file has.
	if lacks || old == nil && before.Staged && len(out.Gaps) > 0 {
		if err := s.setAside(stageDir, numberName(n)+objExt); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set a staged file aside: %w", err)
		}
		defer s.damages.weigh()
	}
	lost := before.Bytes - min(before.Bytes, after.Bytes)
	return s.damages.note(n, out.Gaps, lost, "damaged in the sealed segment", numberName(n)+segExt)
}
