//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestLogNobodyReads: standard error is a pipe that is full, as with a log driver that hangs. A warning must stop neither
// the socket that causes it nor the drain.
func TestLogNobodyReads(t *testing.T) {
	r, w := pipe(t)
	defer r.Close()
	fill(t, w)
	unread(t, w)
}

// TestLogReaderGone: the process that read standard error is gone. The kernel answers writes with SIGPIPE.
func TestLogReaderGone(t *testing.T) {
	r, w := pipe(t)
	r.Close()
	unread(t, w)
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return r, w
}

// fill writes to a pipe until it takes no more. The file's own descriptor is left blocking, as a child expects it.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd()) // sets it to blocking
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for size := 4096; size > 0; {
		_, err := syscall.Write(fd, bytes.Repeat([]byte("."), size))
		switch {
		case errors.Is(err, syscall.EAGAIN):
			size /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// unread runs a collector that logs to stderr, and makes it log a warning between records.
func unread(t *testing.T, stderr *os.File) {
	dir, dest, addr := t.TempDir(), t.TempDir(), testserver.FreeAddr(t)
	c := startCollectorTo(t, stderr, dir, nil, "-listen", "vpn=udp://"+addr+"?max=2000", "-dest", "d=file://"+dest,
		"-on-term", "drain", "-lifecycle", "none").ready()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, 4000)); err != nil { // longer than max: a warning
		t.Fatal(err)
	}
	sent := loadgenSend(t, "-to", "udp://"+addr, "-rate", "5000", "-count", "3000", "-run", "unread")
	if code := c.end(syscall.SIGTERM, 30*time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	vpn := c.report().Classes["vpn"]
	if vpn.Kept.Records+vpn.Lost.Total().Records != sent.Sent+1 || vpn.Kept.Records != sent.Sent {
		t.Errorf("sent %d records and one that is too long; the report says %+v", sent.Sent, vpn)
	}
	loadgenCheck(t, nil, "unread", sent.Sent, "file://"+dest)
}

// TestHangUp: SIGHUP may come from log rotation, from an operator who expects a reload, or from a closed terminal. It ends no
// program, even if there are no settings to read again.
func TestHangUp(t *testing.T) {
	dir, dest, addr := t.TempDir(), t.TempDir(), testserver.FreeAddr(t)
	c := startCollector(t, dir, nil, "-listen", "vpn=tcp://"+addr, "-dest", "d=file://"+dest, "-on-term", "drain",
		"-lifecycle", "none").ready()
	for range 2 {
		if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	c.until("the log to tell of the signal", 10*time.Second, func() bool { return strings.Contains(c.log.String(), "reload: the settings are in effect") })
	sent := loadgenSend(t, "-to", "tcp://"+addr, "-count", "1000", "-run", "hup")
	if code := c.end(syscall.SIGTERM, 30*time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	loadgenCheck(t, nil, "hup", sent.Sent, "file://"+dest)
	if _, err := os.Stat(filepath.Join(dir, "report.json")); err != nil {
		t.Error(err)
	}
}
