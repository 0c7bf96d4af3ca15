package fileship_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A real disk is filled, to the last block that appends get, with records of 64 bytes that do not compress, while no
// destination is up and nothing is staged. Once a destination is up, the spool empties by itself.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name  string
		quota int64 // 0: the default, by which some of the disk stays free
		codec string
		other bool // other programs fill what the quota leaves free
	}{
		{name: "default quota", codec: "zstd"},
		{name: "quota above the disk", quota: 1 << 40, codec: "zstd"},
		{name: "quota above the disk, gzip", quota: 1 << 40, codec: "gzip"},
		{name: "others fill the rest", codec: "zstd", other: true},
	} {
		t.Run(c.name, func(t *testing.T) { fullDisk(t, c.quota, c.codec, c.other) })
	}
}

func fullDisk(t *testing.T, quota int64, codec string, other bool) {
	disk := testserver.SmallDisk(t, 96<<20)
	if other {
		if err := os.WriteFile(filepath.Join(disk, "other"), make([]byte, 24<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sp, err := spool.Open(filepath.Join(disk, "spool"), &spool.Options{
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),

		Destinations: []string{"idc"}, SegmentBytes: 4 << 20, MaxBytes: quota, OnFull: spool.Reject,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	rng := rand.NewChaCha8([32]byte{1})
	data := make([]byte, 100*64)
	batch := make([]segment.Record, 100)
	kept := uint64(0)
	for {
		_, _ = rng.Read(data)
		for i := range batch {
			batch[i] = segment.Record{Time: time.Now().UnixNano(), Data: data[i*64 : i*64+64]}
		}
		last, err := sp.Append(t.Context(), batch)
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kept = last
	}
	st := sp.Stats()
	t.Logf("full with %d records: %d MB used of %d", kept, st.Used>>20, st.Quota>>20)
	if st.Staged > 0 || kept < 300_000 {
		t.Fatalf("full with %d records, %d segments staged", kept, st.Staged)
	}
	if err := sp.Seal(t.Context()); err != nil {
		t.Fatalf("seal on a full disk: %v", err)
	}

	dest, err := fileship.New(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ship.New(sp, &ship.Options{
		Destinations: map[string]ship.Destination{"idc": dest}, Codec: codec,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	stuck := time.After(3 * time.Minute)
	for changed := sp.Shelf().Changed(); sp.Stats().Segments > 0; changed = sp.Shelf().Changed() {
		select {
		case <-changed:
		case <-stuck:
			t.Fatalf("stuck: %+v", sp.Stats())
		}
	}
	if err := s.Finalize(t.Context(), "idc"); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	l := sp.Ledger()
	if d := l.Destinations["idc"]; d.Records != kept || d.Tally != l.Kept || l.Damaged.Records > 0 {
		t.Errorf("%d records kept, ledger %+v", kept, l)
	}
	if err := l.Balance(); err != nil {
		t.Error(err)
	}
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "idc", Destination: dest}}, Deep: true})
	if err != nil || r.Verdict != audit.Complete {
		t.Errorf("audit: %+v, %v", r, err)
	}
}
