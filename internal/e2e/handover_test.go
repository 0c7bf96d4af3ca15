//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// TestHandOver replaces the collector by itself again and again under load over UDP and TCP. In the end every datagram is
// at the destination, once, and none was dropped by the kernel either.
//
//	PENSTOCK_RATE=100000 PENSTOCK_HANDOVERS=20 go test -v -run TestHandOver ./internal/e2e
func TestHandOver(t *testing.T) {
	rate, handOvers := number(t, "PENSTOCK_RATE", 10_000), number(t, "PENSTOCK_HANDOVERS", 3)
	dir, at := t.TempDir(), "file://"+t.TempDir()
	udp, web := freeAddr(t), freeAddr(t)
	logName := filepath.Join(dir, "log")
	logFile, err := os.Create(logName)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	log := func() string {
		b, err := os.ReadFile(logName)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(time.Minute); !ok(); {
			select {
			case <-tick.C:
			case <-end:
				t.Fatalf("waited a minute for %s\n%s", what, tail(log(), 60))
			}
		}
	}
	cmd := exec.Command(binary(t, "collector"), "-spool", filepath.Join(dir, "spool"), "-http", web, "-lifecycle", "none",
		"-on-term", "drain", "-drain-timeout", "2m", "-segment-age", "1s", "-listen", "vpn=udp://"+udp+"?rcvbuf=128MiB", "-dest", "idc="+at)
	cmd.Stdout, cmd.Stderr = logFile, logFile // files: a pipe would be waited for until the last process ends
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	await("the listener", func() bool { return strings.Contains(log(), "msg=listening") })

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan sendResult, 1)
	load := exec.CommandContext(ctx, binary(t, "loadgen"), "send", "-to", "udp://"+udp, "-rate", strconv.Itoa(rate),
		"-for", "10m", "-run", "handover", "-sources", "4")
	load.Cancel = func() error { return load.Process.Signal(os.Interrupt) } // it tells what it has sent
	go func() {
		var r sendResult
		out, _ := load.Output()
		_ = json.Unmarshal(out, &r)
		sent <- r
	}()

	started := regexp.MustCompile(`the successor was started" pid=(\d+)`)
	for i := range handOvers {
		until := time.NewTimer(500 * time.Millisecond) // of load between
		<-until.C
		begin := time.Now()
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		await("the hand-over", func() bool {
			return strings.Count(log(), "took over from the predecessor") == i+1 || strings.Contains(log(), "hand-over failed")
		})
		if strings.Contains(log(), "hand-over failed") {
			t.Fatal(tail(log(), 60))
		}
		if i == 0 {
			if err := cmd.Wait(); err != nil {
				t.Fatalf("the first process: %v\n%s", err, tail(log(), 60))
			}
		}
		all := started.FindAllStringSubmatch(log(), -1)
		pid, _ = strconv.Atoi(all[len(all)-1][1])
		t.Logf("hand-over %d took %v", i+1, time.Since(begin).Round(time.Millisecond))
	}
	cancel()
	s := <-sent
	if s.Sent == 0 {
		t.Fatal("loadgen does not say what it sent")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var report drain.Report
	await("the report", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "spool", "report.json"))
		return err == nil && json.Unmarshal(b, &report) == nil && syscall.Kill(pid, 0) != nil
	})
	c := report.Classes["vpn"]
	t.Logf("%d datagrams in %.1f s (%.0f/s) over %d hand-overs: received %d, kept %d, lost %d", s.Sent, s.Seconds,
		float64(s.Sent)/s.Seconds, handOvers, c.Received.Records, c.Kept.Records, c.Lost.Total().Records)
	if report.Outcome != drain.Complete || c.Err != "" || c.Received.Records != s.Sent || len(c.Unaccounted) > 0 {
		t.Errorf("sent %d; %s, %+v", s.Sent, report.Outcome, c)
	}
	if n := c.Lost.Total().Records; n > 0 {
		t.Errorf("lost %d: %+v", n, c.Lost)
	}
	loadgenCheck(t, nil, "handover", s.Sent, at)
	if strings.Contains(log(), "level=ERROR") {
		t.Errorf("errors in the log:\n%s", tail(log(), 100))
	}
}

func number(t *testing.T, env string, fallback int) int {
	t.Helper()
	v := os.Getenv(env)
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", env, err))
	}
	return n
}
