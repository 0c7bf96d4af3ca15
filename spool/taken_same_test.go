package spool_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestKeyTakenBySameRecords: a segment is uploaded at one of two destinations, and the volume is then replaced by a snapshot in which the
// segment was still active. It is sealed again, after a sudden end, and so its native object states other losses than the first one. The
// first one is delivered as it is: under a second key, each of its records would be there twice.
func TestKeyTakenBySameRecords(t *testing.T) {
	for _, name := range []string{format.Native, format.NDJSON} {
		for _, named := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in a manifest %v", name, named), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					to, _, err := sealedAgain(t, name, named, nil)
					if err != nil {
						t.Error(err)
					}
					for name, d := range to {
						if all := objects(d); len(all) != 2 {
							t.Errorf("objects at %s: %v", name, all)
						}
					}
					for _, deep := range []bool{false, true} {
						r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "idc", Destination: to["idc"]}, {Name: "s3", Destination: to["s3"]}}, Deep: deep})
						if err != nil {
							t.Fatal(err)
						}
						for _, f := range r.Findings {
							if f.Code != audit.Open {
								t.Errorf("deep %v: %+v", deep, f)
							}
						}
					}
				})
			})
		}
	}
}

// TestKeyTakenByAlmostSame: the bytes under the key are not exactly the segment's records in a whole object. They are not delivered as the
// segment, and stay.
func TestKeyTakenByAlmostSame(t *testing.T) {
	for what, forge := range map[string]func([]byte) []byte{
		"longer":  func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
		"shorter": func(b []byte) []byte { return b[:len(b)-1] },
		"altered": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"of another spool": func(b []byte) []byte {
			h, err := segment.DecodeHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			h.Spool = strings.Repeat("0", len(h.Spool))
			header, err := segment.EncodeHeader(h, 0)
			if err != nil {
				t.Fatal(err)
			}
			copy(b, header)
			return b
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to, forged, err := sealedAgain(t, format.Native, false, forge)
				if !errors.Is(err, ship.ErrConflict) {
					t.Errorf("delivered: %v", err)
				}
				taken := objects(to["idc"])[1]
				if string(to["idc"].Bytes(taken)) != string(forged) {
					t.Error("overwritten")
				}
				for _, key := range to["idc"].Keys() {
					if strings.HasPrefix(key, "_manifest/") && strings.Contains(string(to["idc"].Bytes(key)), taken) {
						t.Error("a manifest names it:", key)
					}
				}
			})
		})
	}
}

// sealedAgain uploads a segment to idc, with or without a manifest, goes back to a snapshot in which it was active, delivers it to both
// destinations, and verifies that. forge changes the uploaded object meanwhile.
func sealedAgain(t *testing.T, format string, named bool, forge func([]byte) []byte) (to map[string]*shiptest.MemoryDestination, forged []byte, err error) {
	to = map[string]*shiptest.MemoryDestination{"idc": shiptest.Memory(), "s3": shiptest.Memory()}
	down := func(all bool) func(shiptest.Call) shiptest.Fault {
		return func(c shiptest.Call) shiptest.Fault {
			if all || c.Op == shiptest.Put && !strings.HasPrefix(c.Key, "class=") && !named {
				return shiptest.FailBefore(errors.New("down"))
			}
			return shiptest.Fault{}
		}
	}
	open := func(h *spool.MemHost) *spool.Spool {
		t.Helper()
		s, err := h.Open(func(vfs.Op) error { return nil }, nil, &spool.Options{
			Class: "vpn", Destinations: slices.Sorted(maps.Keys(to)), Sync: spool.SyncAlways, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	run := func(s *spool.Spool, to map[string]ship.Destination, then func(context.Context, *ship.Shipper) error) error {
		t.Helper()
		sh, err := ship.New(s, &ship.Options{Destinations: to, Codec: "none", Format: format, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { _ = sh.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		return then(ctx, sh)
	}
	host := spool.NewMemHost()
	both := map[string]ship.Destination{"idc": to["idc"], "s3": to["s3"]}
	if err := liveAs(t, host, both, format, io.Discard, "the chains' first"); err != nil {
		t.Fatal(err)
	}
	s := open(host)
	var records []segment.Record
	for n := range 10 {
		records = append(records, segment.Record{Time: time.Now().UnixNano(), Data: fmt.Appendf(nil, "record %d", n)})
	}
	if _, err := s.Append(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	snapshot := host.Clone()
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	up := map[string]ship.Destination{"idc": shiptest.Faulty(to["idc"], down(false)), "s3": shiptest.Faulty(to["s3"], down(true))}
	if err := run(s, up, func(ctx context.Context, sh *ship.Shipper) error { return sh.Flush(ctx) }); err == nil {
		t.Fatal("all is delivered")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if all := objects(to["idc"]); len(all) != 2 {
		t.Fatalf("uploaded: %v", all)
	} else if forge != nil {
		forged = forge(to["idc"].Bytes(all[1]))
		to["idc"].Set(all[1], forged)
	}
	s = open(snapshot)
	defer s.Close()
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Shelf().Freeze("a test verifies"); err != nil {
		t.Fatal(err)
	}
	return to, forged, run(s, both, func(ctx context.Context, sh *ship.Shipper) error {
		if err := sh.Flush(ctx); err != nil {
			return err
		}
		_, err := sh.Verify(ctx)
		return err
	})
}
