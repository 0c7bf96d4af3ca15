//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// marks are the lines of the log at which a drain is killed: each phase at its beginning, when the journal names it; the
// report before it is written; and the end when the group has taken its answer and nothing is closed yet.
var marks = []string{"announce", "quiesce", "close", "seal", "ship", "verify", "report", "termination hook completed"}

// TestKillPhases kills a drain that a scale-in has begun, in each of its phases. The next collector on the same volume does not
// listen, delivers the remaining records, once, and answers the group. It never answers CONTINUE without a complete report.
func TestKillPhases(t *testing.T) {
	const sent = 3000
	s := startServers(t)
	for _, mark := range marks {
		t.Run(mark, func(t *testing.T) {
			dir := t.TempDir()
			var early atomic.Bool
			g := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Minute, Fault: func(op string) error {
				if op == string(asg.Continue) && !reportedComplete(dir) {
					early.Store(true)
				}
				return nil
			}})
			i := g.Launch()
			api, meta := httptest.NewServer(g), httptest.NewServer(i)
			defer api.Close()
			defer meta.Close()
			env := append([]string{
				"AWS_ENDPOINT_URL_AUTO_SCALING=" + api.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + meta.URL, "AWS_REGION=us-east-1",
			}, s.env...)
			run := strings.ReplaceAll(mark, " ", "-")
			s3, idc := strings.Replace(s.s3, "/e2e?", "/kill-"+run+"?", 1), s.ssh.URL("kill-"+run)

			i.Terminate() // the child appends before it asks
			child := exec.Command(os.Args[0])
			child.Env = append(append(os.Environ(), env...), "PENSTOCK_APPENDER=scalein "+mark, "PENSTOCK_DIR="+dir,
				"PENSTOCK_S3="+s3, "PENSTOCK_IDC="+idc, "PENSTOCK_RUN="+run, fmt.Sprint("PENSTOCK_COUNT=", sent))
			out, err := child.CombinedOutput()
			if ws, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
				t.Fatalf("the drain was not killed at %q: %v\n%s", mark, err, tail(string(out), 30))
			}
			trigger, interrupted, err := drain.Interrupted(dir)
			after := mark == marks[len(marks)-1]
			if err != nil || interrupted == after || interrupted && !strings.HasPrefix(trigger, "scale-in") {
				t.Errorf("interrupted %v, %q, %v", interrupted, trigger, err)
			}

			c := startCollector(t, dir, env, "-listen", "vpn=udp://"+testserver.FreeAddr(t), "-dest", "idc="+idc, "-dest", "s3="+s3,
				"-quiesce", "1s", "-segment-bytes", "256KiB")
			if code := c.wait(time.Minute); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			if log := c.log.String(); strings.Contains(log, `msg="ingest: listening"`) {
				t.Errorf("it listens again:\n%s", log)
			}
			if answer, expired := i.Answered(); answer != asg.Continue || expired || early.Load() {
				t.Errorf("answered %q, by a time-out %v, before the report %v", answer, expired, early.Load())
			}
			if r := c.report(); r.Outcome != drain.Delivered || r.Classes["vpn"].Kept.Records != sent {
				t.Errorf("%s", r.JSON())
			}
			loadgenCheck(t, s.env, run, sent, s3, idc)
		})
	}
}

func reportedComplete(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	return err == nil && bytes.Contains(b, []byte(`"outcome": "delivered"`))
}

// killAt is a log handler that kills the process, as kill -9 does, at a line: the drain logs each phase when its journal
// is written.
type killAt struct {
	slog.Handler
	mark string
}

func (k killAt) Handle(ctx context.Context, r slog.Record) error {
	hit := r.Message == "drain: "+k.mark || r.Message == "asg: "+k.mark
	r.Attrs(func(a slog.Attr) bool {
		hit = hit || r.Message == "drain: phase begins" && a.Key == "phase" && a.Value.String() == k.mark
		return true
	})
	if hit {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return k.Handler.Handle(ctx, r)
}

func (k killAt) WithAttrs(a []slog.Attr) slog.Handler { return killAt{k.Handler.WithAttrs(a), k.mark} }

func (k killAt) WithGroup(g string) slog.Handler { return killAt{k.Handler.WithGroup(g), k.mark} }

// scaleInChild is the process that is killed: it takes records, and then ends as the group says.
func scaleInChild(mark string) error {
	ctx := context.Background()
	log := slog.New(killAt{slog.NewTextHandler(os.Stderr, nil), mark})
	dests := map[string]ship.Destination{}
	for name, env := range map[string]string{"s3": "PENSTOCK_S3", "idc": "PENSTOCK_IDC"} {
		d, err := open.Destination(ctx, os.Getenv(env), nil)
		if err != nil {
			return err
		}
		dests[name] = d
	}
	dir := os.Getenv("PENSTOCK_DIR")
	sp, err := spool.Open(filepath.Join(dir, "vpn"), &spool.Options{
		Class: "vpn", Destinations: []string{"idc", "s3"}, SegmentBytes: 256 << 10, Logger: log,
	})
	if err != nil {
		return err
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: dests})
	if err != nil {
		return err
	}
	gen, err := fwlog.NewGenerator(os.Getenv("PENSTOCK_RUN"), 1)
	if err != nil {
		return err
	}
	var count uint64
	if _, err := fmt.Sscan(os.Getenv("PENSTOCK_COUNT"), &count); err != nil {
		return err
	}
	for seq := range count {
		rec := []segment.Record{{Time: time.Now().UnixNano(), Data: gen.Append(nil, 0, seq, 300)}}
		if _, err := sp.Append(ctx, rec); err != nil {
			return err
		}
	}
	l, err := asg.New(&asg.Options{Logger: log})
	if err != nil {
		return err
	}
	d, err := drain.New(&drain.Options{Dir: dir, Timeout: time.Minute, Quiesce: time.Second, Lifecycles: []drain.Lifecycle{l}, Logger: log})
	if err != nil {
		return err
	}
	if err := d.Add(drain.Class{Shipper: sh}); err != nil {
		return err
	}
	r, err := d.RunWith(ctx, nil)
	if err != nil {
		return err
	}
	return fmt.Errorf("not killed: %s", r.Outcome)
}
