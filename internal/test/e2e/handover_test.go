//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestHandOver replaces the collector by itself again and again under load over UDP and TCP. In the end every datagram is at
// the destination once, and the kernel has dropped none; no TCP connection was refused, and everything sent over connections
// that were closed in order is there.
//
//	PENSTOCK_RATE=100000 PENSTOCK_HANDOVERS=20 go test -v -run TestHandOver ./internal/test/e2e
func TestHandOver(t *testing.T) {
	rate, handOvers := number(t, "PENSTOCK_RATE", 10_000), number(t, "PENSTOCK_HANDOVERS", 3)
	dir, at := t.TempDir(), "file://"+t.TempDir()
	udp, tcp, web := testserver.FreeAddr(t), testserver.FreeAddr(t), testserver.FreeAddr(t)
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
	unit, err := net.Listen("tcp", "127.0.0.1:0") // as systemd has it, for whichever process is the service
	if err != nil {
		t.Fatal(err)
	}
	defer unit.Close()
	inherited, err := unit.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, binary(t, "collector"), "-listen", "unit=systemd://lines", "-spool", filepath.Join(dir, "spool"), "-http", web, "-lifecycle", "none",
		"-on-term", "drain", "-drain-timeout", "2m", "-segment-age", "1s", "-listen", "vpn=udp://"+udp+"?rcvbuf=128MiB", "-listen", "web=tcp://"+tcp, "-dest", "idc="+at)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=lines")
	cmd.ExtraFiles = []*os.File{inherited}
	cmd.Stdout, cmd.Stderr = logFile, logFile // files: a pipe would be waited for until the last process ends
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	await("the listener", func() bool { return strings.Count(log(), `msg="ingest: listening"`) == 3 })

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

	dialled := dialOn(t, tcp)
	started := regexp.MustCompile(`started the successor[^"]*" pid=(\d+)`)
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
	whole, reset := dialled()
	if err := sendLine(unit.Addr().String(), "over systemd's socket"); err != nil {
		t.Error(err)
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
	if report.Outcome != drain.Delivered || c.Err != "" || c.Received.Records != s.Sent || len(c.Unaccounted) > 0 {
		t.Errorf("sent %d; %s, %+v", s.Sent, report.Outcome, c)
	}
	if n := c.Lost.Total().Records; n > 0 {
		t.Errorf("lost %d: %+v", n, c.Lost)
	}
	if n := report.Classes["unit"].Kept.Records; n != 1 {
		t.Errorf("kept %d lines from systemd's socket", n)
	}
	lines := report.Classes["web"]
	t.Logf("%d lines over as many connections, %d of them reset: received %d, kept %d", whole+reset, reset, lines.Received.Records, lines.Kept.Records)
	if n := lines.Kept.Records; n < whole || n > whole+reset || whole == 0 || lines.Err != "" || lines.Lost.Total().Records > reset {
		t.Errorf("%d lines over whole connections and %d over reset ones: %+v", whole, reset, lines)
	}
	loadgenCheck(t, nil, "handover", s.Sent, at)
	if strings.Contains(log(), "level=ERROR") {
		t.Errorf("errors in the log:\n%s", tail(log(), 100))
	}
}

// dialOn connects, sends a line, closes its side and waits for the other to do so, without end: some of that falls into
// each part of a hand-over. stop returns how many connections ended in good order and how many were reset, which tells the
// sender that its line may be lost; a collector that is more than a second late, on a machine that is too busy, may do that.
func dialOn(t *testing.T, addr string) (stop func() (whole, reset uint64)) {
	ctx, cancel := context.WithCancel(t.Context())
	type counts struct{ whole, reset uint64 }
	done := make(chan counts, 1)
	go func() {
		var n counts
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			switch err := sendLine(addr, fmt.Sprintf("line %d", n.whole+n.reset)); {
			case err == nil:
				n.whole++
			case errors.Is(err, errDial):
				t.Errorf("after %d connections: %v", n.whole, err)
				cancel()
			default:
				n.reset++
			}
			<-tick.C
		}
		done <- n
	}()
	return func() (uint64, uint64) {
		cancel()
		n := <-done
		return n.whole, n.reset
	}
}

var errDial = errors.New("connection refused")

// sendLine sends a line over a connection of its own; nil if that ended in good order.
func sendLine(addr, line string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w: %w", errDial, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err = fmt.Fprintln(c, line); err == nil {
		err = c.(*net.TCPConn).CloseWrite()
	}
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err == io.EOF {
		return nil
	}
	return fmt.Errorf("a line was not taken in good order: %w", err)
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
