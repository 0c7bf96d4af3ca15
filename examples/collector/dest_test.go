package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
)

// TestDriversSpeak: findings of a driver about a destination are in the collector's log. If the driver had to create the
// directory, that is the operator's only sign that a volume is not mounted.
func TestDriversSpeak(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	at := filepath.Join(dir, "idc")
	c, err := parseFlags([]string{"-spool=" + filepath.Join(dir, "spool"), "-listen=vpn=udp://127.0.0.1:0", "-dest=idc=file://" + at}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, there := range []bool{false, true} {
		var out bytes.Buffer
		cl, err := newClass(t.Context(), c, "vpn", slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.shipOptions.Destinations["idc"].(ship.Checker).Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		warned := strings.Contains(out.String(), "level=WARN") && strings.Contains(out.String(), "see that its volume is mounted") &&
			strings.Contains(out.String(), "destination=idc")
		if warned == there {
			t.Errorf("the directory was there: %v; the log says %q", there, &out)
		}
	}
	if _, err := os.Stat(at); err != nil {
		t.Error(err)
	}
}
