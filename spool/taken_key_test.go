package spool_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestKeyTakenByCopy: a copy of the volume, in the same epoch, has uploaded a segment with records of its own, and ended
// before its manifest, at one of two destinations. The owner's next segment has the same sequence numbers, and so the same
// key. Both are delivered to both destinations, and that the keys differ there is not a fault.
func TestKeyTakenByCopy(t *testing.T) {
	for name, record := range map[string]string{"alike": "copy", "longer": strings.Repeat("copy", 100)} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { keyTakenByCopy(t, record) }) })
	}
}

func keyTakenByCopy(t *testing.T, record string) {
	idc, s3 := shiptest.Memory(), shiptest.Memory()
	to := map[string]ship.Destination{"idc": idc, "s3": s3}
	uploads := map[string]ship.Destination{"idc": shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault {
		return shiptest.FailBefore(errors.New("down"))
	})}
	uploads["s3"] = shiptest.Faulty(s3, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && !strings.HasPrefix(c.Key, "class=") {
			return shiptest.FailBefore(errors.New("down"))
		}
		return shiptest.Fault{}
	})
	owner := spool.NewMemHost()
	if err := live(t, owner, to, "common"); err != nil {
		t.Fatal(err)
	}
	copied := owner.Clone()
	time.Sleep(time.Minute)
	if err := live(t, copied, uploads, record); err == nil {
		t.Fatal("the copy has delivered")
	}
	if err := live(t, owner, to, "owner"); err != nil {
		t.Error(err)
	}
	if err := live(t, copied, to, ""); err != nil {
		t.Error(err)
	}
	for name, d := range map[string]*shiptest.MemoryDestination{"idc": idc, "s3": s3} {
		got, err := delivered(t.Context(), d)
		if err != nil || got["common"] != 1 || got[record] != 1 || got["owner"] != 1 {
			t.Errorf("delivered to %s: %v, %v", name, got, err)
		}
	}
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "idc", Destination: idc}, {Name: "s3", Destination: s3}}, Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Code != audit.Open {
			t.Errorf("%+v", f)
		}
	}
}

// live keeps a record, if there is one, and delivers for a minute what it can.
func live(t *testing.T, h *spool.MemHost, to map[string]ship.Destination, record string) error {
	if record == "" {
		return liveAs(t, h, to, "", io.Discard)
	}
	return liveAs(t, h, to, "", io.Discard, record)
}

// liveAs keeps records, each in a block of its own, and delivers for a minute what it can, in a format.
func liveAs(t *testing.T, h *spool.MemHost, to map[string]ship.Destination, format string, logs io.Writer, records ...string) error {
	s, err := h.Open(func(vfs.Op) error { return nil }, nil, &spool.Options{Class: "vpn", Destinations: slices.Sorted(maps.Keys(to)), Sync: spool.SyncAlways, Logger: slog.New(slog.NewTextHandler(logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, record := range records {
		if _, err := s.Append(t.Context(), []segment.Record{{Time: time.Now().UnixNano(), Data: []byte(record)}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(records) > 0 {
		if err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sh, err := ship.New(s, &ship.Options{Destinations: to, Codec: "none", Format: format, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var wg sync.WaitGroup
	wg.Go(func() { _ = sh.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	return sh.Flush(ctx)
}
