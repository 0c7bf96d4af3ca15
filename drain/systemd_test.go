//go:build unix

package drain

import (
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/penstock-go/penstock/spool/segment"
)

// TestSystemd: the messages to systemd over a real socket, by path and in the abstract namespace.
func TestSystemd(t *testing.T) {
	names := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names = append(names, "@penstock-test-"+filepath.Base(t.TempDir())+"-"+t.Name())
	}
	for _, name := range names {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		t.Setenv("NOTIFY_SOCKET", name)
		w := newWorld(t)
		d, sp := w.start(Options{Lifecycles: []Lifecycle{Systemd(nil)}, OnSignal: Drain, Timeout: time.Minute})
		w.append(sp, 100)
		said := make(chan string, 1)
		go func() {
			var all strings.Builder
			buf := make([]byte, 4096)
			for !strings.Contains(all.String(), "STATUS=drain: ") {
				n, err := conn.Read(buf)
				if err != nil {
					break
				}
				all.WriteString(string(buf[:n]) + "\n--\n")
				if strings.Contains(all.String(), "READY=1") {
					go d.Drain(t.Context(), "test") // the second of two calls waits for the first
				}
			}
			said <- all.String()
		}()
		go d.RunWith(t.Context(), nil)
		got := <-said
		if _, err := d.Drain(t.Context(), "wait for the end"); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"READY=1\n", "STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000\nSTATUS=", "STATUS=drain: delivered\n"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("%q is not there once in\n%s", want, got)
			}
		}
	}
}

// TestWatchdog: a unit with WatchdogSec gets pings in time while the service runs, and no other unit gets any.
func TestWatchdog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_PID", "1")    // as after a hand-over
	heard := func() (all []string) { // without waiting
		buf := make([]byte, 4096)
		for {
			var n int
			if cerr := raw.Control(func(fd uintptr) { n, _, err = syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT) }); cerr != nil || err != nil {
				return all
			}
			all = append(all, string(buf[:n]))
		}
	}
	for usec, within := range map[string]time.Duration{"30000000": 11 * time.Second, "3000000": 1100 * time.Millisecond, "": 0, "0": 0, "-5": 0, "9223372036854775807": 0, "x": 0} {
		t.Setenv("WATCHDOG_USEC", usec)
		l := Systemd(nil)
		synctest.Test(t, func(t *testing.T) {
			pinged := time.Now()
			for range 120 { // as a Drainer does
				l.Update(t.Context(), Status{Phase: PhaseRun})
				if slices.Contains(heard(), "WATCHDOG=1") {
					if within == 0 {
						t.Fatalf("%q: a ping without a watchdog", usec)
					}
					pinged = time.Now()
				} else if within > 0 && time.Since(pinged) > within {
					t.Fatalf("%q: no ping for %v", usec, time.Since(pinged))
				}
				time.Sleep(time.Second)
			}
			time.Sleep(time.Hour)
			l.Update(t.Context(), Status{Phase: "ship"})
			if all := heard(); len(all) != 1 || !strings.HasPrefix(all[0], "STOPPING=1\n") {
				t.Errorf("%q: at the end %q", usec, all)
			}
		})
	}
}

func TestSystemdAbsent(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if Systemd(nil) != nil {
		t.Error("systemd without NOTIFY_SOCKET")
	}
	t.Setenv("NOTIFY_SOCKET", "vsock:2:1234")
	if _, err := Systemd(nil).Finish(t.Context(), &Report{}); err == nil || !strings.Contains(err.Error(), "vsock") {
		t.Errorf("%v", err)
	}
}

// TestSystemdStatus: STATUS of a running service has what is pending, reports trouble at once, and is not updated more
// often than necessary.
func TestSystemdStatus(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	s := Systemd(nil)
	said := func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	p := Status{Phase: PhaseRun, Pending: segment.Tally{Records: 1200, Bytes: 3 << 20}}
	s.Update(t.Context(), p)
	s.Update(t.Context(), p) // nothing new
	if got := said(); got != "READY=1\nSTATUS=running, 1200 records, 3.0 MiB pending" {
		t.Errorf("at the start: %q", got)
	}
	p.NotReady = errors.New("class vpn: spool full:\n5 of 5 bytes")
	p.Destinations = map[string]DestinationStatus{"s3": {Err: errors.New("connection refused")}, "idc": {}}
	s.Update(t.Context(), p)
	want := "STATUS=running, 1200 records, 3.0 MiB pending; not ready: class vpn: spool full: 5 of 5 bytes; s3 fails: connection refused"
	if got := said(); got != want {
		t.Errorf("in trouble: %q, want %q", got, want)
	}
	p.Destinations["s3"] = DestinationStatus{Err: errors.New(strings.Repeat("é", 10_000))}
	s.Update(t.Context(), p)
	if got := said(); len(got) > 700 || !utf8.ValidString(got) {
		t.Errorf("%d bytes of STATUS", len(got))
	}
}
