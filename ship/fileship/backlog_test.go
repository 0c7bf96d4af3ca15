package fileship_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// sink checks the objects that it gets and drops them. It keeps only documents, so that chains can be read.
type sink struct {
	ship.Destination
	mu      sync.Mutex
	bytes   int64
	objects int
}

func (s *sink) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if !strings.HasPrefix(o.Key, "class=") {
		return s.Destination.Put(ctx, o, body)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return ship.Receipt{}, err
	}
	if got := [32]byte(h.Sum(nil)); n != o.Size || got != o.SHA256 {
		return ship.Receipt{}, fmt.Errorf("%w: %s", ship.ErrVerify, o.Key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += n
	s.objects++
	return ship.Receipt{Size: n, Checksum: ship.SHA256Checksum(o.SHA256), Method: "read-back", Time: time.Now()}, nil
}

// heap is the most memory that was seen in use.
type heap struct {
	most uint64
}

func (h *heap) sample() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.most = max(h.most, m.HeapInuse)
}

// backlogHeap bounds the heap while a backlog of any size builds and drains: the memory budget of the spool, and as much
// again.
const backlogHeap = 64 << 20

// TestBacklog builds a backlog with no destination up, then delivers it, and watches the memory.
//
//	PENSTOCK_BACKLOG=20GB go test -count 1 -v -timeout 60m -run TestBacklog ./ship/fileship
func TestBacklog(t *testing.T) {
	size := int64(128 << 20)
	if v := os.Getenv("PENSTOCK_BACKLOG"); v != "" {
		n, err := strconv.ParseInt(strings.TrimSuffix(v, "GB"), 10, 64)
		if err != nil || n < 1 {
			t.Fatalf("PENSTOCK_BACKLOG=%q is not a number of GB", v)
		}
		size = n * 1e9
	}
	sp, err := spool.Open(t.TempDir(), &spool.Options{
		Destinations: []string{"idc"}, SegmentBytes: 8 << 20, MaxBytes: 3*size + 1<<30, MemoryBytes: 32 << 20, Sync: spool.SyncNone,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()

	random := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(random)
	batch := make([]segment.Record, 64)
	var building, draining heap
	began := time.Now()
	records := uint64(0)
	for at := int64(0); at < size; {
		for i := range batch {
			n := (int(records)*977 + i*1031) % (len(random) - 1024)
			batch[i] = segment.Record{Time: time.Now().UnixNano(), Data: random[n : n+1024]}
		}
		if records, err = sp.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if at += 64 << 10; at>>23 != (at-64<<10)>>23 {
			building.sample()
		}
	}
	if err := sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	segments := sp.Stats().Segments
	built := time.Since(began)

	began = time.Now()
	dest := &sink{Destination: shiptest.Memory()}
	s, err := ship.New(sp, &ship.Options{
		Destinations: map[string]ship.Destination{"idc": dest}, Format: "native", Codec: "none",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	for sp.Stats().Segments > 0 {
		changed := sp.Shelf().Changed()
		if sp.Stats().Segments == 0 {
			break
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Minute):
			t.Fatalf("stuck with %d segments", sp.Stats().Segments)
		}
		draining.sample()
	}
	drained := time.Since(began)
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	l := sp.Ledger()
	if d := l.Destinations["idc"]; d.Records != records || l.Kept != d.Tally || l.Balance() != nil {
		t.Errorf("delivered %+v of %d records, ledger %+v", d, records, l)
	}
	t.Logf("%d MB in %d segments: built in %v with at most %d MB of heap in use, drained in %v with %d MB (%d objects, %d MB)",
		size>>20, segments, built.Round(time.Second), building.most>>20, drained.Round(time.Second), draining.most>>20, dest.objects, dest.bytes>>20)
	if m := max(building.most, draining.most); m > backlogHeap {
		t.Errorf("%d MB of heap in use, at most %d are allowed", m>>20, int64(backlogHeap)>>20)
	}
}
