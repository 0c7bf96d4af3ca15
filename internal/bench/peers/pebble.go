package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// pebbleLog is the log writer under pebble's WAL, rotated as pebble's standalone manager does: the old log is closed, the
// oldest file that is no longer needed is reused, and the directory is synced.
type pebbleLog struct {
	dir   string
	whole bool // the batch is one record
	sem   chan struct{}

	mu  sync.Mutex
	w   *record.LogWriter
	num uint64
	one []byte

	syncClock
}

func newPebble(whole bool) func(string, shape) (contestant, error) {
	return func(dir string, _ shape) (contestant, error) {
		l := &pebbleLog{dir: dir, whole: whole, sem: make(chan struct{}, record.SyncConcurrency-1)}
		return l, l.rotate()
	}
}

func (l *pebbleLog) path(num uint64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%06d.log", num))
}

func (l *pebbleLog) rotate() error {
	if l.w != nil {
		if err := l.w.Close(); err != nil {
			return err
		}
	}
	l.num++
	var f vfs.File
	err := fs.ErrNotExist
	if l.num > 2 { // the log before the last one is no longer needed
		f, err = vfs.Default.ReuseForWrite(l.path(l.num-2), l.path(l.num), "wal")
	}
	if errors.Is(err, fs.ErrNotExist) {
		f, err = vfs.Default.Create(l.path(l.num), "wal")
	}
	if err != nil {
		return err
	}
	d, err := vfs.Default.OpenDir(l.dir)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return err
	}
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{PreallocateSize: segmentBytes})
	l.w = newLogWriter(record.NewLogWriter, clockedFile{f, &l.syncClock}, l.num, record.LogWriterConfig{
		WALFsyncLatency:     prometheus.NewHistogram(prometheus.HistogramOpts{}),
		QueueSemChan:        l.sem,
		WriteWALSyncOffsets: func() bool { return true },
	})
	return nil
}

// newLogWriter converts a number to a type that pebble does not export.
func newLogWriter[N ~uint64](
	open func(io.Writer, N, record.LogWriterConfig) *record.LogWriter, w io.Writer, num uint64, c record.LogWriterConfig,
) *record.LogWriter {
	return open(w, N(num), c)
}

func (l *pebbleLog) Append(batch [][]byte) error {
	var synced sync.WaitGroup
	var syncErr error
	if err := l.write(batch, &synced, &syncErr); err != nil {
		return err
	}
	synced.Wait()
	return syncErr
}

func (l *pebbleLog) write(batch [][]byte, synced *sync.WaitGroup, syncErr *error) error {
	l.sem <- struct{}{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w.Size() > segmentBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	last := batch[len(batch)-1]
	if l.whole {
		l.one = l.one[:0]
		for _, rec := range batch {
			l.one = append(l.one, rec...)
		}
		last = l.one
	} else {
		for _, rec := range batch[:len(batch)-1] {
			if _, err := l.w.WriteRecord(rec); err != nil {
				return err
			}
		}
	}
	synced.Add(1)
	_, err := l.w.SyncRecord(last, synced, syncErr)
	return err
}

func (l *pebbleLog) Close() error { return l.w.Close() }
