package ship_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// destinations is a shorthand.
type destinations map[string]ship.Destination

func (d destinations) names() []string {
	var names []string
	for name := range d {
		names = append(names, name)
	}
	return names
}

// bench is a spool with a shipper.
type bench struct {
	t    testing.TB
	dir  string
	sp   *spool.Spool
	s    *ship.Shipper
	stop func() error // ends the shipper and returns what Run returned
	next int          // number of the next record
	log  *syncBuffer
}

// newBench opens a spool in a new directory.
func newBench(t testing.TB, d destinations) *bench {
	return openBench(t, t.TempDir(), d, "host-a")
}

func openBench(t testing.TB, dir string, d destinations, instance string, change ...func(*spool.Options)) *bench {
	t.Helper()
	log := new(syncBuffer)
	o := &spool.Options{
		Class: "vpn", Instance: instance, Destinations: d.names(), SegmentBytes: 64 << 10, MaxBytes: 1 << 30, Sync: spool.SyncNone,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, f := range change {
		f(o)
	}
	sp, err := spool.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: dir, sp: sp, log: log, stop: func() error { return nil }}
	b.next = int(sp.Stats().Appended)
	t.Cleanup(b.close)
	return b
}

// close may be called again.
func (b *bench) close() {
	if err := b.stop(); err != nil {
		b.t.Errorf("Run: %v", err)
	}
	if err := b.sp.Close(); err != nil {
		b.t.Errorf("Close: %v", err)
	}
}

// ship starts a Shipper.
func (b *bench) ship(d destinations, change ...func(*ship.Options)) {
	b.t.Helper()
	o := &ship.Options{
		Destinations: d, Level: 1, Codec: "zstd",
	}
	for _, f := range change {
		f(o)
	}
	s, err := ship.New(b.sp, o)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.s = s
	b.stop = sync.OnceValue(func() error { cancel(); return <-done })
}

// segments appends n segments of per records each.
func (b *bench) segments(n, per int) {
	b.t.Helper()
	for range n {
		b.append(per)
		if err := b.sp.Seal(context.Background()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// append appends n records.
func (b *bench) append(n int) {
	b.t.Helper()
	batch := make([]segment.Record, n)
	for i := range batch {
		batch[i] = segment.Record{Time: time.Now().UnixNano(), Data: []byte(payload(b.next))}
		b.next++
	}
	if _, err := b.sp.Append(context.Background(), batch); err != nil {
		b.t.Fatal(err)
	}
}

func payload(n int) string { return fmt.Sprintf("record %d", n) }

// freeze keeps in the spool what is delivered, as a drain does before it verifies.
func (b *bench) freeze() {
	b.t.Helper()
	if err := b.sp.Shelf().Freeze("a test verifies"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) flush() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.s.Flush(ctx); err != nil {
		b.t.Fatalf("Flush: %v\n%s", err, b.log)
	}
}

// until waits for a condition that changes with the spool's or the shipper's state.
func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain for: %s\nstats: %+v\nlog:\n%s", what, b.s.Stats(), b.log)
		}
		select {
		case <-ship.Changed(b.s):
		case <-b.sp.Shelf().Changed():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// audit walks the chain of epochs at a destination and compares every record with what was appended: all, once, in
// order. It returns the manifests.
func (b *bench) audit(d ship.Destination, epochs ...uint32) []*ship.Manifest {
	b.t.Helper()
	return auditChain(b.t, d, b.sp.Stats().Spool, b.next, epochs...)
}

func auditChain(t testing.TB, d ship.Destination, spoolID string, records int, epochs ...uint32) (all []*ship.Manifest) {
	t.Helper()
	ctx := context.Background()
	if len(epochs) == 0 {
		epochs = []uint32{1}
	}
	n, keys := 0, map[string]bool{}
	for _, epoch := range epochs {
		for m, err := range ship.ReadChain(ctx, d, "vpn", spoolID, epoch) {
			if err != nil {
				t.Fatalf("chain: %v", err)
			}
			if len(all) > 0 && m.Header.Prev != hexOf(all[len(all)-1].Hash) {
				t.Errorf("manifest %d of epoch %d does not link to the one before", m.Header.Number, epoch)
			}
			all = append(all, m)
			for _, s := range m.Segments {
				if s.Records == 0 {
					n = int(s.Last)
					continue
				}
				keys[s.Key] = true
				for _, data := range content(t, d, s) {
					if data != payload(n) {
						t.Fatalf("%s: record %q, want %q", s.Key, data, payload(n))
					}
					n++
				}
				if n != int(s.Last) {
					t.Fatalf("%s: ends at record %d, its line says %d", s.Key, n, s.Last)
				}
			}
		}
	}
	if n != records {
		t.Errorf("%d records are there, %d were kept", n, records)
	}
	for e, err := range d.(ship.Lister).List(ctx, "class=") {
		if err != nil || !keys[e.Key] {
			t.Errorf("object in no manifest: %+v, %v", e, err)
		}
	}
	return all
}

// content returns the payloads in an object, after checking the object against its line.
func content(t testing.TB, d ship.Destination, s ship.SegmentLine) (data []string) {
	t.Helper()
	stored := get(t, d, s.Key)
	o := ship.BytesObject(s.Key, "", stored)
	if err := o.Check(*s.Receipt); err != nil {
		t.Errorf("receipt of %s: %v", s.Key, err)
	}
	c, err := compress.ByName(s.Codec)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("%s: %v", s.Key, err)
	}
	if ro := ship.BytesObject("", "", raw); hexOf(ro.SHA256) != s.RawSHA256 || ro.Size != s.RawBytes {
		t.Errorf("%s: output is not what its line says", s.Key)
	}
	seq := s.First
	for line := range strings.Lines(string(raw)) {
		var v struct {
			Seq  uint64
			Data string
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.Seq != seq {
			t.Fatalf("%s: %q, want sequence number %d: %v", s.Key, line, seq, err)
		}
		seq++
		data = append(data, v.Data)
	}
	return data
}

func get(t testing.TB, d ship.Destination, key string) []byte {
	t.Helper()
	body, err := d.Open(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func hexOf(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
