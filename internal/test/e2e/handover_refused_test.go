//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// TestHandOverRefused hands over to a process whose settings lack a destination. Its spool would not open, so it must not take the
// sockets: it ends, and the predecessor continues. collector check says the same beforehand, beside the service.
func TestHandOverRefused(t *testing.T) {
	tmp, dirA, dirB := t.TempDir(), t.TempDir(), t.TempDir()
	tcp := testserver.FreeAddr(t)
	file := filepath.Join(tmp, "collector.yaml")
	write := func(dests string) {
		t.Helper()
		text := fmt.Sprintf("lifecycle: none\non-term: drain\nsegment-age: 300ms\ndest:\n  a: file://%s\n%sclasses:\n  vpn:\n    listen: tcp://%s\n", dirA, dests, tcp)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both := "  b: file://" + dirB + "\n"
	write(both)
	c := startCollector(t, filepath.Join(tmp, "spool"), nil, "-config", file).ready()
	says := func(what string) {
		t.Helper()
		c.until(what, 20*time.Second, func() bool { return strings.Contains(c.log.String(), what) })
	}
	if err := sendLine(tcp, "before"); err != nil {
		t.Fatal(err)
	}
	write("")
	for _, sig := range []struct {
		os.Signal
		says string
	}{{syscall.SIGHUP, "dest b: removed here"}, {syscall.SIGUSR2, "hand-over failed"}} {
		if err := c.cmd.Process.Signal(sig.Signal); err != nil {
			t.Fatal(err)
		}
		says(sig.says)
	}
	says(`\"b\" is missing in Destinations`)
	if strings.Contains(c.log.String(), "took over") {
		t.Error("a process without a spool has taken over")
	}
	check := exec.Command(binary(t, "collector"), "check", "-offline", "-config", file, "-spool", c.dir)
	if out, err := check.Output(); check.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), `"b" is missing in Destinations`) {
		t.Errorf("check beside the service: %v\n%s", err, out)
	}
	if err := sendLine(tcp, "after"); err != nil {
		t.Fatal(err)
	}
	c.ready()
	if code := c.end(syscall.SIGTERM, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	r := c.report()
	if got := r.Classes["vpn"]; r.Outcome != drain.Delivered || got.Received.Records != 2 || got.Destinations["b"].Delivered.Records != 2 {
		t.Errorf("%s", r.JSON())
	}
}
