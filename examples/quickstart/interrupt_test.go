package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/drain"
)

// TestInterrupted: when the message says so, the records that the listeners have received are in the spools.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := build(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, c := range w.classes {
		if err := c.send(ctx, 100, 1_000_000); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := interrupted(ctx, w, dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "spool")) {
		t.Errorf("%v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "spool", "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r drain.Report
	if err := json.Unmarshal(b, &r); err != nil || r.Intent != drain.Stop || len(r.Classes) != 2 || len(r.Errors) != 0 {
		t.Errorf("%v %s", err, b)
	}
	for name, c := range r.Classes {
		if c.Received.Records != 100 || c.Kept.Records != 100 {
			t.Errorf("%s: received %d, kept %d", name, c.Received.Records, c.Kept.Records)
		}
	}
}
