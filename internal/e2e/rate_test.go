//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestRate drives the whole way at a fixed rate for a fixed time: loadgen over UDP, the collector with ndjson and zstd,
// OpenSSH and a real S3 server, all on this machine. It is a measurement, not a check of every change: PENSTOCK_RATE is
// the rate in datagrams per second, PENSTOCK_SECONDS the time (default 20).
//
//	PENSTOCK_RATE=100000 go test -v -run TestRate ./internal/e2e
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
	addr := freeAddr(t)
	c := startCollector(t, t.TempDir(), s.env, "-listen", "vpn=udp://"+addr+"?rcvbuf=64MiB&rate="+fmt.Sprint(rate),
		"-dest", "idc="+s.sftp, "-dest", "s3="+s.s3, "-on-term", "drain", "-spool-max-bytes", "8GiB").ready()
	sent := loadgenSend(t, "-to", "udp://"+addr, "-rate", fmt.Sprint(rate), "-for", fmt.Sprintf("%ds", seconds), "-size", "512", "-run", "rate")
	begin := time.Now()
	code := c.end(syscall.SIGTERM, 5*time.Minute)
	drained := time.Since(begin)
	r := c.report()
	class := r.Classes["vpn"]
	usage, _ := c.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("sent %d of 512 B in %.1f s (%.0f/s); received %d, kept %d, lost %+v; drained and verified in %.1f s, exit %d; CPU %.1f s user %.1f s system, peak memory %d MiB",
		sent.Sent, sent.Seconds, float64(sent.Sent)/sent.Seconds, class.Received.Records, class.Kept.Records, class.Lost,
		drained.Seconds(), code, seconds64(usage.Utime), seconds64(usage.Stime), usage.Maxrss>>10)
	if code != 0 {
		t.Errorf("exit code %d: %s", code, r.JSON())
	}
	if class.Kept.Records != sent.Sent {
		t.Errorf("kept %d of %d", class.Kept.Records, sent.Sent)
	}
	loadgenCheck(t, s.env, "rate", sent.Sent, s.s3, s.sftp)
}

func seconds64(tv syscall.Timeval) float64 { return float64(tv.Sec) + float64(tv.Usec)/1e6 }
