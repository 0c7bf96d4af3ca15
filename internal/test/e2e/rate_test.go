//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestRate drives the whole way at a fixed rate for a fixed time: loadgen over UDP, the collector with ndjson and zstd,
// OpenSSH and a real S3 server, all on this machine. It is a measurement, not a check of every change; its log is the
// table that internal/docs/performance.md has. PENSTOCK_RATE is the rate in datagrams per second, PENSTOCK_SECONDS the
// time (default 20), PENSTOCK_CPU_PROFILE a file for the collector's CPU profile, which then also gives the shares of the
// stages.
//
//	PENSTOCK_RATE=113000 PENSTOCK_SECONDS=300 PENSTOCK_CPU_PROFILE=/tmp/cpu go test -v -timeout 30m -run TestRate ./internal/test/e2e
func TestRate(t *testing.T) {
	rate, err := strconv.Atoi(os.Getenv("PENSTOCK_RATE"))
	if err != nil {
		t.Skip("a measurement: set PENSTOCK_RATE to run it")
	}
	seconds := 20
	if s, err := strconv.Atoi(os.Getenv("PENSTOCK_SECONDS")); err == nil {
		seconds = s
	}
	s := startServers(t)
	addr, dir := testserver.FreeAddr(t), t.TempDir()
	args := []string{
		"-listen", "vpn=udp://" + addr + "?rcvbuf=64MiB&rate=" + fmt.Sprint(rate),
		"-dest", "idc=" + s.sftp, "-dest", "s3=" + s.s3, "-on-term", "drain", "-spool-max-bytes", "8GiB",
	}
	profile := os.Getenv("PENSTOCK_CPU_PROFILE")
	if profile != "" {
		args = append(args, "-cpu-profile", profile)
	}
	c := startCollector(t, dir, s.env, args...).ready()
	watch := startWatch(c.cmd.Process.Pid, filepath.Join(dir, "vpn"))
	sent := loadgenSend(t, "-to", "udp://"+addr, "-rate", fmt.Sprint(rate), "-for", fmt.Sprintf("%ds", seconds), "-size", "512", "-run", "rate")
	load := watch.end()
	begin := time.Now()
	code := c.end(syscall.SIGTERM, 10*time.Minute)
	drained := time.Since(begin)
	r := c.report()
	class := r.Classes["vpn"]
	usage, _ := c.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := seconds64(usage.Utime) + seconds64(usage.Stime)
	table := [][2]string{
		{"asked", fmt.Sprintf("%d/s of 512 B for %d s", rate, seconds)},
		{"sent", fmt.Sprintf("%d (%.0f/s)", sent.Sent, float64(sent.Sent)/sent.Seconds)},
		{"received", fmt.Sprint(class.Received.Records)},
		{"kept", fmt.Sprint(class.Kept.Records)},
		{"lost", fmt.Sprintf("%+v", class.Lost.Total())},
		{"backlog, raw, most and at the end of the load", fmt.Sprintf("%d, %d MiB", load.rawMost>>20, load.raw>>20)},
		{"backlog, staged, most and at the end of the load", fmt.Sprintf("%d, %d MiB", load.stagedMost>>20, load.staged>>20)},
		{"RSS in the first quarter, in the last, most ever", fmt.Sprintf("%d, %d, %d MiB", load.rssEarly>>20, load.rssLate>>20, usage.Maxrss>>10)},
		{"drained and verified after", fmt.Sprintf("%.1f s, exit %d", drained.Seconds(), code)},
		{"CPU of the collector", fmt.Sprintf("%.1f s user, %.1f s system: %.2f s per million", seconds64(usage.Utime), seconds64(usage.Stime), cpu/float64(sent.Sent)*1e6)},
	}
	if profile != "" {
		table = append(table, shares(t, profile)...)
	}
	var b strings.Builder
	for _, row := range table {
		fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
	}
	t.Logf("\n%s", b.String())
	if code != 0 {
		t.Errorf("exit code %d: %s", code, r.JSON())
	}
	if class.Kept.Records != sent.Sent {
		t.Errorf("kept %d of %d", class.Kept.Records, sent.Sent)
	}
	loadgenCheck(t, s.env, "rate", sent.Sent, s.s3, s.sftp)
}

func seconds64(tv syscall.Timeval) float64 { return float64(tv.Sec) + float64(tv.Usec)/1e6 }
