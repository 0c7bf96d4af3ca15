package spool_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// damageAll runs all of them: go test -run DamageMatrix ./spool -damage.all
var damageAll = flag.Bool("damage.all", false, "damage matrix: all, not a quarter of it")

// matrixScene is a spool at rest that holds a file of every kind, with what its destinations have got of it.
type matrixScene struct {
	host  *spool.MemHost
	to    places
	old   map[string][]byte // files as they were at an earlier time
	kept  uint64
	files []string
}

// hurts are the ways in which a file is damaged at rest.
var hurts = map[string]func(s *matrixScene, path string) bool{
	"flip first": func(s *matrixScene, path string) bool { return s.change(path, 10, 1) },
	"flip middle": func(s *matrixScene, path string) bool {
		b := s.read(path)
		return s.change(path, len(b)/2, 1)
	},
	"flip last":    func(s *matrixScene, path string) bool { return s.change(path, len(s.read(path))-1, 1) },
	"zeroed page":  func(s *matrixScene, path string) bool { return s.fill(path, 0, 4096, 0) },
	"zeroed block": func(s *matrixScene, path string) bool { return s.fill(path, len(s.read(path))/2, 600, 0) },
	"foreign block": func(s *matrixScene, path string) bool {
		return s.fill(path, len(s.read(path))/2, 600, 0xa5)
	},
	"empty": func(s *matrixScene, path string) bool { return s.write(path, nil) },
	"cut":   func(s *matrixScene, path string) bool { b := s.read(path); return s.write(path, b[:len(b)/2]) },
	"cut last": func(s *matrixScene, path string) bool {
		b := s.read(path)
		return len(b) > 0 && s.write(path, b[:len(b)-1])
	},
	"gone": func(s *matrixScene, path string) bool { return s.host.Files().Remove(path) == nil },
	"older": func(s *matrixScene, path string) bool {
		b, ok := s.old[path]
		return ok && !bytes.Equal(b, s.read(path)) && s.write(path, b)
	},
	"swapped": func(s *matrixScene, path string) bool {
		for _, other := range s.files {
			if other > path && filepath.Dir(other) == filepath.Dir(path) && filepath.Ext(other) == filepath.Ext(path) {
				a, b := s.read(path), s.read(other)
				return s.write(path, b) && s.write(other, a)
			}
		}
		return false
	},
}

func (s *matrixScene) read(path string) []byte {
	b, err := vfs.ReadFile(s.host.Files(), path, 1<<30)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *matrixScene) write(path string, b []byte) bool {
	f, err := s.host.Files().OpenRW(path)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(b))); err != nil {
		panic(err)
	}
	if len(b) > 0 {
		if _, err := f.WriteAt(b, 0); err != nil {
			panic(err)
		}
	}
	return true
}

func (s *matrixScene) change(path string, at int, by byte) bool {
	b := s.read(path)
	if at < 0 || at >= len(b) {
		return false
	}
	b[at] ^= by
	return s.write(path, b)
}

func (s *matrixScene) fill(path string, at, n int, with byte) bool {
	b := s.read(path)
	if at >= len(b) {
		return false
	}
	part := b[at:min(len(b), at+n)]
	was := bytes.Clone(part)
	for i := range part {
		part[i] = with
	}
	return !bytes.Equal(was, part) && s.write(path, b)
}

// snapshot reads all files.
func (s *matrixScene) snapshot() map[string][]byte {
	all := map[string][]byte{}
	for _, path := range s.list("/spool") {
		all[path] = s.read(path)
	}
	return all
}

func (s *matrixScene) list(dir string) (paths []string) {
	entries, err := s.host.Files().ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); e.IsDir() {
			paths = append(paths, s.list(path)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

// newMatrixScene makes one: "idc" has the first two segments, "s3" the first one; of the second only the staged file is
// left here. A third and a fourth are sealed, a fifth is being written. The process was killed, unless orderly.
func newMatrixScene(t *testing.T, orderly, noIndex bool) *matrixScene {
	t.Helper()
	s := &matrixScene{host: spool.NewMemHost(), to: places{"idc": shiptest.Memory(), "s3": shiptest.Memory()}}
	o := &spool.Options{Class: "vpn", Destinations: []string{"idc", "s3"}, Sync: spool.SyncAlways, SegmentAge: time.Hour}
	none := func(vfs.Op) error { return nil }
	sp, err := s.host.Open(none, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(seal bool) {
		for range 3 {
			batch := make([]segment.Record, 2)
			for i := range batch {
				batch[i] = segment.Record{Time: int64(i), Data: record(s.kept + uint64(i) + 1)}
			}
			if s.kept, err = sp.Append(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the spare is ready, so that the numbers are the same each time
		}
		if seal {
			if err := sp.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(true)
	shipTo(t, sp, s.to, nil)
	fill(true)
	s.old = s.snapshot()
	shipTo(t, sp, s.to, []string{"s3"})
	segs := sp.Shelf().Sealed(0, 0)
	onlyStaged := fmt.Sprintf("/spool/seg/%016x.seg", segs[len(segs)-1].Number)
	fill(true)
	fill(true)
	fill(false)
	time.Sleep(2 * time.Second) // so that everything is noted that is noted now and then
	if orderly {
		if err := sp.Close(); err != nil {
			t.Fatal(err)
		}
		s.host = s.host.Crash(vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept})
	} else {
		s.host = s.host.Crash(vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept})
		if err := sp.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.host.Files().Remove(onlyStaged); err != nil {
		t.Fatal(err)
	}
	if noIndex {
		s.host.LoseIndex()
	}
	s.files = s.list("/spool")
	return s
}

// shipTo delivers everything that is sealed, but to those that are down.
func shipTo(t *testing.T, sp *spool.Spool, to places, down []string) {
	t.Helper()
	dests := map[string]ship.Destination{}
	for name, p := range to {
		dests[name] = p
		if slices.Contains(down, name) {
			dests[name] = shiptest.Faulty(p, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
		}
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: dests, Codec: "none"})
	if err != nil {
		t.Fatal(err)
	}
	life, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = sh.Run(life); close(done) }()
	segs := sp.Shelf().Sealed(0, 0)
	for name := range to {
		for !slices.Contains(down, name) && len(segs) > 0 {
			if c, err := sp.Shelf().Chain(name); err != nil {
				t.Fatal(err)
			} else if c.Segment >= segs[len(segs)-1].Number {
				break
			}
			time.Sleep(time.Second)
		}
	}
	cancel()
	<-done
}

// TestDamageMatrix damages every file of a spool in every way, and drains it then. Whatever it is: the spool opens, the
// drain ends, every record is at every destination once or named as damaged, and nothing that is missing passes for
// complete.
func TestDamageMatrix(t *testing.T) {
	t.Parallel()
	for i, m := range []struct{ orderly, noIndex bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		var files []string
		synctest.Test(t, func(t *testing.T) { files = newMatrixScene(t, m.orderly, m.noIndex).files })
		for j, path := range files {
			for k, how := range slices.Sorted(maps.Keys(hurts)) {
				if !*damageAll && (j+k)%4 != i {
					continue
				}
				name := fmt.Sprintf("orderly=%v noIndex=%v %s %s", m.orderly, m.noIndex, strings.TrimPrefix(path, "/spool/"), how)
				t.Run(name, func(t *testing.T) {
					dir := t.TempDir()
					synctest.Test(t, func(t *testing.T) {
						s := newMatrixScene(t, m.orderly, m.noIndex)
						if hurts[how](s, path) {
							s.drain(t, dir)
						}
					})
				})
			}
		}
	}
}

// drain drains the spool as a newly started process does, and judges the result.
func (s *matrixScene) drain(t *testing.T, dir string) {
	var log bytes.Buffer
	defer func() {
		if t.Failed() {
			t.Logf("log:\n%s", log.String())
		}
	}()
	logger := slog.New(slog.NewTextHandler(&log, nil))
	sp, err := s.host.Open(func(vfs.Op) error { return nil }, nil, &spool.Options{
		Class: "vpn", Destinations: []string{"idc", "s3"}, Sync: spool.SyncAlways, SegmentAge: time.Hour, Logger: logger,
	})
	if err != nil {
		t.Fatalf("it does not open: %v", err)
	}
	sh, err := ship.New(sp, &ship.Options{
		Destinations: map[string]ship.Destination{"idc": s.to["idc"], "s3": s.to["s3"]}, Codec: "none",
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := drain.New(&drain.Options{Dir: dir, Timeout: time.Hour, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Add(drain.Class{Shipper: sh}); err != nil {
		t.Fatal(err)
	}
	r, err := d.Drain(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	s.judge(t, r)
}

// judge compares a report, and an audit, with what the destinations hold.
func (s *matrixScene) judge(t *testing.T, r *drain.Report) {
	t.Helper()
	c := r.Classes["vpn"]
	named := func(seq uint64) bool {
		return slices.ContainsFunc(c.Damages, func(x spool.Damage) bool {
			return slices.ContainsFunc(x.Ranges, func(g segment.Range) bool { return g.First <= seq && seq <= g.Last })
		})
	}
	missing := 0
	for name, p := range s.to {
		if dr := c.Destinations[name]; dr.Pending.Records > 0 || !dr.Verified {
			t.Errorf("%s is stuck: %s", name, r.JSON())
		}
		got, err := recordsAt(p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for seq := uint64(1); seq <= s.kept; seq++ {
			if got[seq] == 0 {
				missing++
				if !named(seq) {
					t.Errorf("%s: record %d is missing, and nobody says so", name, seq)
				}
			}
		}
	}
	res, err := audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{
		{Name: "idc", Destination: s.to["idc"]}, {Name: "s3", Destination: s.to["s3"]},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	_ = res.WriteText(&text)
	switch {
	case missing > 0 && (r.Outcome != drain.Incomplete || r.ExitCode() != 4):
		t.Errorf("%d records are missing, and the drain is %s: %s", missing, r.Outcome, r.JSON())
	case missing > 0 && res.Verdict != audit.Damaged:
		t.Errorf("%d records are missing, and the audit says %s", missing, &text)
	case missing == 0 && len(c.Damages) == 0 && r.Outcome != drain.Delivered:
		t.Errorf("nothing is missing, and the drain is %s: %s", r.Outcome, r.JSON())
	case missing == 0 && len(c.Damages) == 0 && res.Verdict != audit.Complete:
		t.Errorf("nothing is missing, and the audit says %s", &text)
	}
}

// recordsAt counts the records that a destination holds, each of which must be what was appended, and there once.
func recordsAt(p *shiptest.MemoryDestination) (map[uint64]int, error) {
	got := map[uint64]int{}
	for _, key := range p.Keys() {
		if !strings.HasPrefix(key, "class=") {
			continue
		}
		r, err := format.NewReader(format.NDJSON, bytes.NewReader(p.Bytes(key)))
		if err != nil {
			return got, err
		}
		for {
			seq, rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return got, err
			}
			if got[seq]++; got[seq] > 1 || !bytes.Equal(rec.Data, record(seq)) {
				return got, fmt.Errorf("%s: record %d is doubled or altered: %q", key, seq, rec.Data)
			}
		}
		if err := r.Close(); err != nil {
			return got, err
		}
	}
	return got, nil
}
