//go:build linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const (
	killRounds = 100
	perRound   = 1 << 20 // sequence numbers reserved for a round
)

// TestKill9 kills a program that appends under load, at random moments, again and again. In the end every record for which
// Append had returned is at both real destinations exactly once; no other record is duplicated or altered.
func TestKill9(t *testing.T) {
	s := startServers(t)
	dir := t.TempDir()
	child := func(mode string, base uint64) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(append(os.Environ(), s.env...), "PENSTOCK_APPENDER="+mode, "PENSTOCK_DIR="+dir,
			"PENSTOCK_S3="+s.s3, "PENSTOCK_IDC="+s.sftp, "PENSTOCK_BASE="+strconv.FormatUint(base, 10))
		return cmd
	}

	acked := map[uint64]bool{}
	for round := range uint64(killRounds) {
		cmd := child("append", round*perRound)
		var stderr testserver.Log
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() { // the first acknowledged batch: the program is in full swing
			_ = cmd.Wait()
			t.Fatalf("round %d: the program ended by itself: %s", round, tail(stderr.String(), 30))
		}
		kill := time.AfterFunc(time.Duration(rand.IntN(150_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		for more := true; more; more = lines.Scan() {
			first, n, ok := strings.Cut(lines.Text(), " ")
			from, err1 := strconv.ParseUint(first, 10, 64)
			count, err2 := strconv.ParseUint(n, 10, 64)
			if !ok || err1 != nil || err2 != nil {
				continue // torn by the kill
			}
			for i := range count {
				acked[from+i] = true
			}
		}
		_ = cmd.Wait()
		kill.Stop()
	}
	t.Logf("%d records acknowledged in %d rounds", len(acked), killRounds)

	drainer := child("drain", 0)
	if out, err := drainer.CombinedOutput(); err != nil {
		t.Fatalf("drain: %v\n%s", err, tail(string(out), 40))
	}
	ctx := context.Background()
	for _, e := range s.env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	for _, at := range []string{s.s3, s.sftp} {
		d, err := open.Destination(ctx, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		tally := fwlog.NewTally("kill", killRounds*perRound)
		if err := open.Records(ctx, d, nil, func(_ uint64, rec segment.Record) error { tally.Add(rec.Data); return nil }); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		lost := 0
		for seq := range acked {
			if !tally.Has(seq) {
				lost++
			}
		}
		if lost > 0 || tally.Duplicate > 0 || tally.Altered > 0 || tally.Foreign > 0 {
			t.Errorf("%s: %d acknowledged records lost, %d doubled, %d altered, %d foreign", at, lost, tally.Duplicate, tally.Altered, tally.Foreign)
		}
		if c, ok := d.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// appender is the program that is killed: several goroutines append to one spool that ships to both destinations.
func appender(mode string) error {
	if mark, ok := strings.CutPrefix(mode, "scalein "); ok {
		return scaleInChild(mark)
	}
	if mode, ok := strings.CutPrefix(mode, "route "); ok {
		return routeChild(mode)
	}
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	dests := map[string]ship.Destination{}
	for name, env := range map[string]string{"s3": "PENSTOCK_S3", "idc": "PENSTOCK_IDC"} {
		d, err := open.Destination(ctx, os.Getenv(env), nil)
		if err != nil {
			return err
		}
		dests[name] = d
	}
	dir := os.Getenv("PENSTOCK_DIR")
	sp, err := spool.Open(dir+"/spool", &spool.Options{
		Destinations: []string{"idc", "s3"}, SegmentBytes: 512 << 10, SegmentAge: 200 * time.Millisecond, Logger: log,
	})
	if err != nil {
		return err
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: dests})
	if err != nil {
		return err
	}
	if mode == "drain" {
		d, err := drain.New(&drain.Options{Dir: dir, Timeout: 3 * time.Minute, Logger: log})
		if err != nil {
			return err
		}
		if err := d.Add(drain.Class{Shipper: sh}); err != nil {
			return err
		}
		r, err := d.Drain(ctx, "test")
		if err != nil {
			return err
		}
		if r.Outcome != drain.Delivered {
			_ = r.WriteSummary(os.Stderr)
			return fmt.Errorf("drain: %s", r.Outcome)
		}
		return nil
	}

	go sh.Run(ctx)
	base, err := strconv.ParseUint(os.Getenv("PENSTOCK_BASE"), 10, 64)
	if err != nil {
		return err
	}
	const writers, burst = 4, 20
	failed := make(chan error, writers)
	var mu sync.Mutex
	for w := range uint64(writers) {
		go func() {
			gen, err := fwlog.NewGenerator("kill", w)
			if err != nil {
				failed <- err
				return
			}
			batch := make([]segment.Record, burst)
			for seq := base + w*burst; ; seq += writers * burst {
				for i := range batch {
					batch[i] = segment.Record{Time: time.Now().UnixNano(), Data: gen.Append(batch[i].Data[:0], int(w), seq+uint64(i), 200)}
				}
				if _, err := sp.Append(ctx, batch); err != nil {
					failed <- err
					return
				}
				mu.Lock()
				_, err := fmt.Printf("%d %d\n", seq, burst) // one write(2): it is out before a kill, or it is not
				mu.Unlock()
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}
