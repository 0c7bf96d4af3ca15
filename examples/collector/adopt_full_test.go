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
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestAdoptFullVolume: the volume of a spool is full, so the mark of the adoption cannot be written; the attempt creates and
// removes a temporary file. That does not count as a use of the spool: it is adopted once.
func TestAdoptFullVolume(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	orphan := filepath.Join(dir, "orphans", "vol")
	c, err := parseFlags([]string{
		"-spool=" + filepath.Join(dir, "spool"), "-listen=vpn=udp://127.0.0.1:0", "-adopt=" + filepath.Join(dir, "orphans"),
		"-adopt-max-bytes=512MiB", "-dest=a=file://" + filepath.Join(dir, "a"),
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(orphan, &spool.Options{Class: "vpn", Instance: "host-a", Destinations: []string{"a"}, MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	marks := 0
	defer vfs.Interpose(func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && strings.HasPrefix(op.Path, filepath.Join(orphan, "adopted")) {
			marks++
			return syscall.ENOSPC
		}
		return nil
	})()
	a := newAdoptions(c, slog.New(slog.DiscardHandler))
	for range 3 {
		a.look()
		a.wg.Wait()
	}
	if o := a.seen[orphan]; o == nil || o.State != "delivered" || marks != 1 {
		t.Errorf("adopted %d times: %+v", marks, o)
	}
}
