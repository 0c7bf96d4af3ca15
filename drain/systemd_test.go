//go:build unix

package drain

import (
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestSystemd: what systemd hears over a real socket, by path and in the abstract name space.
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
			for !strings.Contains(all.String(), "STATUS=drain ") {
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
		for _, want := range []string{"READY=1\n", "STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000\nSTATUS=", "STATUS=drain complete\n"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("%q is not there once in\n%s", want, got)
			}
		}
	}
}

func TestSystemdAbsent(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if Systemd(nil) != nil {
		t.Error("systemd without NOTIFY_SOCKET")
	}
	t.Setenv("NOTIFY_SOCKET", "vsock:2:1234")
	if _, err := Systemd(nil).Complete(t.Context(), &Report{}); err == nil || !strings.Contains(err.Error(), "vsock") {
		t.Errorf("%v", err)
	}
}
