package main

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestUsedAgain: a delivered spool could not be marked as adopted, as on a read-only mount, and then its owner uses it again,
// possibly without writing the file that names the spool. It is adopted once more.
func TestUsedAgain(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	orphan := filepath.Join(dir, "orphans", "vol")
	c, err := parseFlags([]string{
		"-spool=" + filepath.Join(dir, "spool"), "-listen=vpn=udp://127.0.0.1:0", "-adopt=" + filepath.Join(dir, "orphans"),
		"-adopt-max-bytes=512MiB", "-dest=a=file://" + filepath.Join(dir, "a"), "-adopt-patience=1ms",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer vfs.Interpose(func(op vfs.Op) error {
		if op.Kind == vfs.OpCreate && strings.HasPrefix(op.Path, filepath.Join(orphan, "adopted")) {
			return syscall.EROFS
		}
		return nil
	})()
	a := newAdoptions(c, slog.New(slog.DiscardHandler))
	for use := range 3 {
		s, err := spool.Open(orphan, &spool.Options{Class: "vpn", Instance: "host-a", Destinations: []string{"a"}, MaxBytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}})
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second look finds nothing new
			a.look()
			a.wg.Wait()
		}
		if o := a.seen[orphan]; o == nil || o.State != "delivered" || o.Attempts != 1 {
			t.Errorf("use %d: %+v", use, o)
		}
		d, err := open.Destination(t.Context(), "file://"+filepath.Join(dir, "a"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Destination: d}}, Deep: true})
		if err != nil {
			t.Fatal(err)
		}
		var have uint64
		for _, chain := range r.Chains {
			have += chain.Records
		}
		for _, f := range r.Findings {
			t.Errorf("use %d: %+v", use, f)
		}
		if have != uint64(use)+1 {
			t.Errorf("use %d: %d records are delivered, of %d", use, have, use+1)
		}
	}
}
