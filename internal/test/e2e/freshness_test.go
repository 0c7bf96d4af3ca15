//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
)

// TestFreshness measures how old a record is when it is durable, and when both destinations have verified it and their chains
// cover it: at 1 %, 50 % and 100 % of the rated load, with several ages and sizes of segments. The service runs in this process, so
// that a Hook can note when a chain covers more; the times of arrival are those of the records that one destination has. It is a
// measurement, not a check of every change; its log is the table that internal/docs/performance.md has. PENSTOCK_FRESHNESS is the
// rated load in datagrams per second.
//
//	PENSTOCK_FRESHNESS=113000 go test -v -timeout 60m -run TestFreshness ./internal/test/e2e
func TestFreshness(t *testing.T) {
	rated, err := strconv.Atoi(os.Getenv("PENSTOCK_FRESHNESS"))
	if err != nil {
		t.Skip("a measurement: set PENSTOCK_FRESHNESS to run it")
	}
	table := []string{
		"| of the rated load | segments | durable after: p50, p99, most | verified at both after: p50, p99, most | objects |", "|---|---|---|---|---|",
	}
	for _, percent := range []int{1, 50, 100} {
		for _, o := range []spool.Options{
			{SegmentAge: 2 * time.Second, SegmentBytes: 64 << 20},
			{SegmentAge: 10 * time.Second, SegmentBytes: 64 << 20},
			{SegmentAge: time.Minute, SegmentBytes: 16 << 20},
			{SegmentAge: time.Minute, SegmentBytes: 64 << 20},
		} {
			name := fmt.Sprintf("load=%d,%v,%dMiB", percent, o.SegmentAge, o.SegmentBytes>>20)
			t.Run(name, func(t *testing.T) {
				f := fresh(t, rated*percent/100, o)
				table = append(table, fmt.Sprintf("| %d %% | %v, %d MiB | %s | %s | %d |", percent, o.SegmentAge, o.SegmentBytes>>20, f.durable, f.verified, f.objects))
			})
		}
	}
	t.Logf("\n%s", strings.Join(table, "\n"))
}

type freshness struct {
	durable, verified ages
	objects           int
}

// fresh runs a service at a rate until several segments have become old or full.
func fresh(t *testing.T, rate int, o spool.Options) freshness {
	s := startServers(t)
	for _, v := range s.env {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	ctx := context.Background()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	destinations := map[string]ship.Destination{}
	for name, url := range map[string]string{"idc": s.sftp, "s3": s.s3} {
		d, err := open.Destination(ctx, url, &open.Options{Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		destinations[name] = d
	}
	dir := t.TempDir()
	o.Class, o.Destinations, o.Logger, o.MaxBytes = "vpn", []string{"idc", "s3"}, logger, 8<<30
	sp, err := spool.Open(filepath.Join(dir, "vpn"), &o)
	if err != nil {
		t.Fatal(err)
	}
	acked := &ackTimes{by: map[string]*steps{"idc": {}, "s3": {}}, changed: make(chan struct{}, 1)}
	sh, err := ship.New(sp, &ship.Options{Destinations: destinations, Hooks: []ship.Hook{acked}})
	if err != nil {
		t.Fatal(err)
	}
	addr := testserver.FreeAddr(t)
	udp, err := ingest.ListenUDP(addr, &ingest.UDPOptions{ReceiveBuffer: 64 << 20, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	d, err := drain.New(&drain.Options{Dir: dir, OnSignal: drain.Drain, Timeout: 5 * time.Minute, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Add(drain.Class{Shipper: sh, Inputs: []drain.Input{udp}}); err != nil {
		t.Fatal(err)
	}
	go udp.Serve(sp.Intake())
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := d.Run(running)
		ended <- err
	}()

	watching, unwatch := context.WithCancel(ctx)
	var durable steps
	var watch sync.WaitGroup
	watch.Go(func() { durable.watch(watching, sp) })
	sent := loadgenSend(t, "-to", "udp://"+addr, "-rate", fmt.Sprint(rate), "-for", fmt.Sprint(max(20*time.Second, 2*o.SegmentAge+10*time.Second)), "-size", "512", "-run", "fresh")
	// The last segment becomes as old as every other: a drain would seal it at once.
	for deadline := time.After(3 * time.Minute); acked.least() < sent.Sent; {
		select {
		case <-acked.changed:
		case <-deadline:
			t.Fatalf("the chains cover %d of %d records", acked.least(), sent.Sent)
		}
	}
	unwatch()
	watch.Wait()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	f := freshness{}
	var toDurable, toVerified []time.Duration
	f.objects = eachArrival(t, s.ssh.Dir, func(seq uint64, at int64) {
		toDurable = append(toDurable, time.Duration(durable.at(seq)-at))
		toVerified = append(toVerified, time.Duration(max(acked.by["idc"].at(seq), acked.by["s3"].at(seq))-at))
	})
	if uint64(len(toVerified)) != sent.Sent {
		t.Errorf("read %d of %d records", len(toVerified), sent.Sent)
	}
	f.durable, f.verified = agesOf(toDurable), agesOf(toVerified)
	return f
}

// steps say from when on a number was reached: both grow.
type steps struct {
	seqs []uint64
	ats  []int64 // Unix nanoseconds
}

func (s *steps) reach(seq uint64) {
	if n := len(s.seqs); n == 0 || s.seqs[n-1] < seq {
		s.seqs, s.ats = append(s.seqs, seq), append(s.ats, time.Now().UnixNano())
	}
}

// at returns when seq was reached; the end of time if it was not.
func (s *steps) at(seq uint64) int64 {
	i := sort.Search(len(s.seqs), func(i int) bool { return s.seqs[i] >= seq })
	if i == len(s.seqs) {
		return 1<<63 - 1
	}
	return s.ats[i]
}

// watch notes what is durable, every millisecond.
func (s *steps) watch(ctx context.Context, sp *spool.Spool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s.reach(sp.Stats().Durable)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ackTimes is a Hook that notes what the chains cover.
type ackTimes struct {
	mu      sync.Mutex
	by      map[string]*steps // by destination
	changed chan struct{}
}

func (a *ackTimes) OnAcked(x ship.Acked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by[x.Destination].reach(x.Chain.Through)
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// least returns the last record that both chains cover.
func (a *ackTimes) least() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	least := uint64(1<<64 - 1)
	for _, s := range a.by {
		if len(s.seqs) == 0 {
			return 0
		}
		least = min(least, s.seqs[len(s.seqs)-1])
	}
	return least
}

// eachArrival calls fn with the number and the time of arrival of each record in the objects below dir.
func eachArrival(t *testing.T, dir string, fn func(seq uint64, at int64)) (objects int) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".ndjson.zst") {
			return err
		}
		objects++
		f, codec, err := format.ByKey(path)
		if err != nil {
			return err
		}
		stored, err := os.Open(path)
		if err != nil {
			return err
		}
		defer stored.Close()
		content, err := codec.NewReader(stored)
		if err != nil {
			return err
		}
		defer content.Close()
		records, err := f.NewReader(content)
		if err != nil {
			return err
		}
		defer records.Close()
		for {
			seq, rec, err := records.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			fn(seq, rec.Time)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// ages are the median, the 99th percentile and the largest.
type ages [3]time.Duration

func agesOf(all []time.Duration) ages {
	if len(all) == 0 {
		return ages{}
	}
	slices.Sort(all)
	return ages{all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
}

func (a ages) String() string {
	unit := time.Millisecond
	if a[1] > 10*time.Second {
		unit = 100 * time.Millisecond
	}
	return fmt.Sprintf("%v, %v, %v", a[0].Round(unit), a[1].Round(unit), a[2].Round(unit))
}
