package main

import (
	"path/filepath"

	"github.com/penstock-go/penstock/internal/vfs"
)

// rawFile is a file whose blocks are already written. It is overwritten from the start again and again.
type rawFile struct {
	f    vfs.File
	sync bool
	off  int64
	buf  []byte
	syncClock
}

const rawSize = 256 << 20

func newRawFile(dir string, sync bool) (*rawFile, error) {
	f, err := vfs.OS().Create(filepath.Join(dir, "raw"))
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < rawSize && err == nil; off += int64(len(buf)) {
		_, err = f.WriteAt(buf, off)
	}
	if err == nil {
		err = f.Sync()
	}
	return &rawFile{f: f, sync: sync}, err
}

// fill returns n bytes of the buffer; nothing is copied.
func (r *rawFile) fill(n int) []byte {
	if len(r.buf) < n {
		r.buf = make([]byte, n)
	}
	return r.buf[:n]
}

func (r *rawFile) write(p []byte) error {
	if r.off+int64(len(p)) > rawSize {
		r.off = 0
	}
	if _, err := r.f.WriteAt(p, r.off); err != nil {
		return err
	}
	r.off += int64(len(p))
	if !r.sync {
		return nil
	}
	return r.time(r.f.Sync)
}

// raw is the yardstick, with or without the sync.
type raw struct {
	*rawFile
	*group
}

func newRaw(sync bool) func(string, shape) (contestant, error) {
	return func(dir string, s shape) (contestant, error) {
		f, err := newRawFile(dir, sync)
		if err != nil {
			return nil, err
		}
		if s.writers == 1 { // no group commit: there is no other writer
			return single{func(b [][]byte) error { return f.write(f.fill(len(b) * s.size)) }, f.f.Close, f}, nil
		}
		r := &raw{rawFile: f}
		r.group = newGroup(r.commit)
		return single{r.append, f.f.Close, f}, nil
	}
}

func (r *raw) commit(batches [][][]byte) error {
	r.buf = r.buf[:0]
	for _, b := range batches {
		for _, rec := range b {
			r.buf = append(r.buf, rec...)
		}
	}
	return r.write(r.buf)
}

// newWhole opens a contestant with a single goroutine that writes as much as all writers together.
func newWhole(dir string, s shape) (contestant, error) {
	f, err := newRawFile(dir, true)
	if err != nil {
		return nil, err
	}
	return whole{single{func(b [][]byte) error { return f.write(f.fill(s.writers * len(b) * s.size)) }, f.f.Close, f}, s.writers}, nil
}

// single is a contestant made from two functions and the file that they write.
type single struct {
	add   func([][]byte) error
	close func() error
	file  synced
}

func (s single) Append(batch [][]byte) error { return s.add(batch) }
func (s single) Close() error                { return s.close() }
func (s single) syncs() syncTimes            { return s.file.syncs() }

// whole has one caller; each of its appends counts as one append of every writer.
type whole struct {
	single
	times int
}
