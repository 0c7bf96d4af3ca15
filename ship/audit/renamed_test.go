package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// renameDestination delivers as destinations idc and s3, of which s3 does not get the last six of ten segments, and then calls idc
// by another name. It returns the id of the spool.
func renameDestination(t *testing.T, p places) (id string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	slow := shiptest.Faulty(p["s3"], nil)
	x := send(t, dir, "vpn", "host", map[string]ship.Destination{"idc": p["idc"], "s3": slow}, nil)
	id = x.sp.Stats().Spool
	x.segments(4)
	x.flush()
	slow.SetPlan(func(shiptest.Call) shiptest.Fault {
		return shiptest.Fault{Before: func(context.Context) error { return os.ErrDeadlineExceeded }}
	})
	x.segments(6)
	x.until("idc")
	x.end()
	x = send(t, dir, "vpn", "host", map[string]ship.Destination{"colo": p["idc"], "s3": p["s3"]}, nil)
	x.segments(2)
	x.flush()
	x.finalize("colo", "s3")
	x.end()
	return id
}

// TestRenamedDestination: a sender calls a place by a new name while another destination is behind, and names objects there again that
// the chain of the former name has named. Nothing is there twice. That chain is open until an operator closes it.
func TestRenamedDestination(t *testing.T) {
	p := newPlaces()
	id := renameDestination(t, p)
	r := both(t, p, audit.Owed, audit.Open)
	f := finding(t, r, audit.Open, "idc")
	if f.Spool != id || !strings.Contains(f.Cure, "by another name") || !strings.Contains(f.Cure, "audit close -class vpn -spool "+id) {
		t.Errorf("%+v", f)
	}
	counted := func(r *audit.Result) {
		t.Helper()
		var sum audit.Tally
		for _, h := range r.Hours {
			sum.Objects, sum.Records = sum.Objects+h.Objects, sum.Records+h.Records
		}
		if sum.Objects != 12 || sum.Records != 240 || r.Objects != 24 {
			t.Errorf("in hours %+v, in all %d", sum, r.Objects)
		}
	}
	counted(r)
	both(t, places{"idc": p["idc"]}, audit.Owed, audit.Open)
	step, err := p.watch(t).Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wants(t, step.Result, audit.Owed, audit.Open)
	counted(step.Result)

	p.closeSpool(t, "vpn", id, nil, "idc")
	counted(both(t, p, audit.Closed))
	// What both chains name must be there, and what only the second one names.
	for _, first := range []uint64{101, 201} {
		q := p.clone()
		for _, k := range q["idc"].Keys() {
			if isData.MatchString(k) && strings.Contains(k, fmt.Sprintf("-%016x-", first)) {
				q["idc"].Remove(k)
			}
		}
		both(t, q, audit.Damaged, audit.ObjectMissing)
	}
}

// TestOneObject: lines of two related chains of a place state one object only if they name it and agree about it. Losses are counted
// once with their object or, without one, if the sender calls the place by another name.
func TestOneObject(t *testing.T) {
	build := func(dest string, change func(m *ship.Manifest, at *shiptest.MemoryDestination)) places {
		p := newPlaces()
		for _, name := range []string{"idc", "s3"} {
			c := newChain(t, p, name, nil).add(2, nil).add(1, nil).whole(30, lost(1)).whole(40, nil).add(0, final)
			if name == "idc" {
				c.dest = dest
				c.branch(1, "x", 2, 20).add(1, nil).whole(30, func(m *ship.Manifest) {
					lost(1)(m)
					if change != nil {
						change(m, c.at)
					}
				}).whole(40, nil).add(0, final)
			}
		}
		return p
	}
	r := both(t, build("colo", nil), audit.Complete)
	for _, h := range r.Hours {
		if h.Hour.Equal(testTime.Truncate(time.Hour)) && (h.Objects != 4 || h.Records != 40) {
			t.Errorf("%+v", h)
		}
	}
	both(t, build("idc", nil), audit.Owed, audit.Behind) // the loss of segment 3 may be that of a copy
	for what, c := range map[string]struct {
		change func(m *ship.Manifest, at *shiptest.MemoryDestination)
		codes  []string
	}{
		"another time":     {func(m *ship.Manifest, _ *shiptest.MemoryDestination) { m.Segments[0].MinTime = testTime.Add(-1) }, []string{audit.RecordsDoubled}},
		"fewer bytes":      {func(m *ship.Manifest, _ *shiptest.MemoryDestination) { m.Segments[0].Bytes-- }, []string{audit.RecordsDoubled}},
		"a copy of it":     {func(m *ship.Manifest, at *shiptest.MemoryDestination) { copyObject(at, &m.Segments[0]) }, []string{audit.RecordsDoubled}},
		"a missing object": {func(m *ship.Manifest, at *shiptest.MemoryDestination) { at.Remove(m.Segments[0].Key) }, []string{audit.ObjectMissing}},
		"a damaged object": {func(m *ship.Manifest, at *shiptest.MemoryDestination) { at.Set(m.Segments[0].Key, []byte("x")) }, []string{audit.ObjectAltered}},
		"other stored bytes": {func(m *ship.Manifest, _ *shiptest.MemoryDestination) {
			s := &m.Segments[0]
			s.SHA256 = strings.Repeat("0", 64)
			s.Receipt.Checksum = "sha256:" + s.SHA256
		}, []string{audit.ObjectAltered}},
		"other losses": {func(m *ship.Manifest, _ *shiptest.MemoryDestination) { m.Losses = nil; lost(2)(m) }, []string{audit.Behind}},
	} {
		r := build("colo", c.change).audit(t, deep)
		for _, code := range c.codes {
			if r.Verdict == audit.Complete || !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Code == code }) {
				t.Errorf("%s: %s: %+v", what, r.Verdict, r.Findings)
			}
		}
	}

	// Of a segment that was damaged throughout there is no object that could be there twice.
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		c := newChain(t, p, name, nil).add(2, nil).gone(30).add(0, final)
		if name == "idc" {
			c.dest = "colo"
			c.branch(1, "x", 2, 20).gone(30).add(0, final)
		}
	}
	both(t, p, audit.Damaged, audit.RecordsDamaged)
}

// gone adds a segment of which no record was readable.
func (c *chain) gone(last uint64) *chain {
	return c.add(0, func(m *ship.Manifest) {
		c.segment++
		gap := segment.Range{First: c.last + 1, Last: last}
		m.Segments = append(m.Segments, ship.SegmentLine{Segment: c.segment, First: gap.First, Last: last, Gaps: []segment.Range{gap}})
		m.Footer.Segment, m.Footer.Last = c.segment, last
		lost(3)(m)
	})
}

// copyObject stores the object of a line a second time, and makes the line name the copy.
func copyObject(at *shiptest.MemoryDestination, s *ship.SegmentLine) {
	b := at.Bytes(s.Key)
	s.Key = object.WithHash(s.Key, s.RawSHA256)
	at.Set(s.Key, b)
}
