package spool

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// benchSpool is a spool on the real disk whose segments are acknowledged as soon as they are sealed, so that it lives on
// recycled files as it does in service.
func benchSpool(b *testing.B, o Options) *Spool {
	b.Helper()
	o.Destinations = []string{"a"}
	o.MaxBytes = 2 << 30
	s, err := Open(b.TempDir(), &o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c := s.shelf.Changed()
			if segs := s.shelf.Sealed(0, 0); len(segs) > 0 {
				_ = tryDeliver(s, "a", segs[len(segs)-1].Number)
			}
			select {
			case <-c:
			case <-ctx.Done():
				return
			}
		}
	}()
	b.Cleanup(func() {
		cancel()
		<-done
		s.Close()
	})
	return s
}

// rawFile is the yardstick: pwrite and fdatasync, over and over, into a file whose blocks are written already.
type rawFile struct {
	f    vfs.File
	size int64
	mu   sync.Mutex
	off  int64
}

func newRawFile(b *testing.B, size int64) *rawFile {
	f, err := vfs.OS().Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		if _, err := f.WriteAt(buf, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return &rawFile{f: f, size: size}
}

func (r *rawFile) write(b *testing.B, p []byte, sync bool) {
	r.mu.Lock()
	off := r.off
	r.off = (off + int64(len(p))) % (r.size - int64(len(p)))
	r.mu.Unlock()
	if _, err := r.f.WriteAt(p, off); err != nil {
		b.Fatal(err)
	}
	if sync {
		if err := r.f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend appends batches of 64 records. ratio is the spool's speed by that of the raw file, the median of short
// bursts that take turns: the disk's own speed changes from minute to minute. With several writers the raw file gets as
// much with one write and one sync as all of them append at a time.
func BenchmarkAppend(b *testing.B) {
	for _, policy := range []SyncPolicy{SyncAlways, SyncInterval, SyncNone} {
		for _, writers := range []int{1, 8} {
			for _, size := range []int{256, 512, 1400} {
				if size != 512 && writers != 1 {
					continue
				}
				b.Run(fmt.Sprintf("policy=%d/writers=%d/size=%d", policy, writers, size), func(b *testing.B) {
					benchAppend(b, policy, writers, size)
				})
			}
		}
	}
}

func benchAppend(b *testing.B, policy SyncPolicy, writers, size int) {
	burst := 64 * writers // long enough for the writers to find into step
	s := benchSpool(b, Options{Sync: policy})
	raw := newRawFile(b, 64<<20)
	records := batch(1, 64, size)
	p := make([]byte, 64*size*writers)
	b.SetBytes(int64(64 * size))
	b.ReportAllocs()
	// Until the pool is full and everything is warm.
	for s.Stats().Appended*uint64(size) < 320<<20 {
		if _, err := s.Offer(b.Context(), records); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.WaitDurable(b.Context(), s.Stats().Appended); err != nil {
		b.Fatal(err)
	}
	var ratios []float64
	b.ResetTimer()
	for n := 0; n < b.N; n += burst {
		b.StopTimer()
		at := time.Now()
		for range burst / writers {
			raw.write(b, p, policy == SyncAlways)
		}
		rawTime := time.Since(at)
		b.StartTimer()
		at = time.Now()
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range burst / writers {
					if _, err := s.Append(b.Context(), records); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		ratios = append(ratios, float64(rawTime)/float64(time.Since(at)))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOffer copies batches of 64 records of 512 B into the memory budget; the disk has to keep up.
func BenchmarkOffer(b *testing.B) {
	s := benchSpool(b, Options{})
	records := batch(1, 64, 512)
	b.SetBytes(64 * 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Offer(b.Context(), records); err != nil {
			b.Fatal(err)
		}
	}
}

var openSegments = flag.Int("open.segments", 500, "segments that BenchmarkOpen opens")

// BenchmarkOpen opens a spool of many segments, with its index and without. MB is what lives on the heap afterwards.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	o := &Options{SegmentBytes: minSegmentBytes}
	manySegments(b, dir, o, *openSegments)
	for _, indexed := range []bool{false, true} {
		b.Run(fmt.Sprintf("index=%v", indexed), func(b *testing.B) {
			for b.Loop() {
				if !indexed {
					_ = os.Remove(filepath.Join(dir, index.FileName))
				}
				s, err := Open(dir, o)
				if err != nil {
					b.Fatal(err)
				}
				if st := s.Stats(); st.Segments != *openSegments {
					b.Fatalf("%d segments", st.Segments)
				}
				b.StopTimer()
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB")
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(*openSegments), "µs/segment")
		})
	}
}

// manySegments makes a spool of n small segments, faster than a spool would.
func manySegments(b *testing.B, dir string, o *Options, n int) {
	s, err := Open(dir, o)
	if err != nil {
		b.Fatal(err)
	}
	id := s.id
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	l := segment.Ledger{Version: 1}
	r := record(1, 100)
	for i := uint64(1); i <= uint64(n); i++ {
		h := &segment.Header{
			Generation: segment.NewGeneration(), Segment: i, First: i, Created: time.Now(), Spool: id.Spool, Epoch: 1,
			Class: id.Class, Instance: id.Instance, Ledger: l,
		}
		head, err := segment.EncodeHeader(h, headerPad)
		if err != nil {
			b.Fatal(err)
		}
		builder, err := segment.NewBuilder(head)
		if err != nil {
			b.Fatal(err)
		}
		block := segment.AppendRecord(make([]byte, segment.BlockHeaderSize), &r)
		segment.Stamp(block, segment.BlockHeader{
			Generation: h.Generation, Offset: headerPad, First: i, Count: 1, Type: segment.RecordBlock,
		})
		builder.Add(headerPad, block)
		l.Kept.Add(segment.Tally{Records: 1, Bytes: uint64(len(r.Data))})
		l.Received = l.Kept
		file := append(head, block...)
		file = append(file, make([]byte, segment.Align(len(file))-len(file))...)
		footer, err := builder.Seal(int64(len(file)), &l)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, segDir, numberName(i)+segExt), append(file, footer...), 0o600); err != nil {
			b.Fatal(err)
		}
	}
}
