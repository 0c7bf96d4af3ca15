package audit_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// TestGivenUp: a destination that refuses one object gets those after it, is given up, and is taken back when the spool has deleted them.
// No chain there names the objects, and nothing is wrong.
func TestGivenUp(t *testing.T) {
	p, dir := newPlaces(), filepath.Join(t.TempDir(), "a")
	refused := shiptest.Faulty(p["idc"], nil)
	x := send(t, dir, "vpn", "host", map[string]ship.Destination{"idc": refused, "s3": p["s3"]}, nil)
	x.segments(3)
	x.flush()
	x.until("idc") // so that the one that is refused comes next
	// The plan sees one call at a time.
	first, asked := "", make(chan struct{})
	refused.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if c.Op != shiptest.Put || !isData.MatchString(c.Key) || first != "" && c.Key != first {
			return shiptest.Fault{}
		}
		if first == "" {
			first = c.Key
			close(asked)
		}
		return shiptest.FailBefore(errors.New("this one is refused"))
	})
	x.segments(1)
	<-asked
	x.segments(3)
	x.until("s3")
	data := func() (all []string) {
		return slices.DeleteFunc(p["idc"].Keys(), func(k string) bool { return !isData.MatchString(k) })
	}
	for deadline := time.After(time.Minute); len(data()) < 6; {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("waited in vain: %q", data())
		}
	}
	x.end()
	sp, err := spool.Open(dir, &spool.Options{Class: "vpn", Instance: "host", Destinations: []string{"s3"}, Forget: []string{"idc"}, SegmentBytes: 64 << 10, MaxBytes: 1 << 30, Sync: spool.SyncNone})
	if err == nil {
		err = sp.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	x = send(t, dir, "vpn", "host", map[string]ship.Destination{"s3": p["s3"]}, nil)
	x.segments(2)
	x.flush()
	// What the spool still has would be owed to the one that is taken back.
	for changed := x.sp.Shelf().Changed(); len(x.sp.Shelf().Sealed(0, 0)) > 0; changed = x.sp.Shelf().Changed() {
		<-changed
	}
	x.end()
	x = send(t, dir, "vpn", "host", p.destinations(), nil)
	x.segments(2)
	x.flush()
	x.finalize("idc", "s3")
	x.end()
	if n := len(data()); n != 8 {
		t.Fatalf("%d objects, refused %s: %q", n, first, data())
	}
	both(t, p, audit.Complete, audit.ObjectNotOwed)
	both(t, places{"idc": p["idc"]}, audit.Owed, audit.Uncovered)
}

// TestNotOwed: what may be in a range that a place is not owed.
func TestNotOwed(t *testing.T) {
	build := func() (p places, ahead ship.SegmentLine) {
		p = newPlaces()
		newChain(t, p, "s3", nil).add(9, nil).add(0, final)
		c := newChain(t, p, "idc", nil).add(2, nil)
		ahead = c.put(4, 21, 30)
		c.next(2, joined(6, 41)).add(3, nil).add(0, final)
		return p, ahead
	}
	p, line := build()
	r := both(t, p, audit.Complete, audit.ObjectNotOwed)
	f := finding(t, r, audit.ObjectNotOwed, "idc")
	if f.Verdict != audit.Complete || f.Key != line.Key || f.Other != "s3: "+object.ManifestKey("vpn", testSpool, 1, 1) || f.First != 21 || f.Last != 30 {
		t.Errorf("%+v", f)
	}
	r = both(t, places{"idc": p["idc"]}, audit.Owed, audit.Uncovered) // nothing vouches for it
	if f := r.Findings[0]; !strings.Contains(f.Cure, "together with one") {
		t.Errorf("%+v", f)
	}
	w := p.watch(t)
	step := func() *audit.Result {
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Result
	}
	right := p["idc"].Bytes(line.Key)
	for what, content := range map[string][]byte{
		"other records": compressed(t, (&chain{data: "zz"}).raw(21, 30), 1), "fewer records": compressed(t, (&chain{data: "x"}).raw(21, 29), 1), "no records": []byte("x"),
	} {
		// An increment sees a change by the size.
		p["idc"].Set(line.Key, right)
		wants(t, step(), audit.Complete, audit.ObjectNotOwed)
		p["idc"].Set(line.Key, content)
		both(t, p, audit.Damaged, audit.ObjectAltered)
		if len(content) == len(right) {
			t.Errorf("%s has the same size", what)
		}
		wants(t, step(), audit.Damaged, audit.ObjectAltered)
	}
	p["idc"].Set(line.Key, compressed(t, (&chain{data: "x"}).raw(21, 30), 9))
	both(t, p, audit.Complete, audit.ObjectNotOwed)

	// An object of another name, or of more than the range, is unknown, whatever else is there.
	for what, key := range map[string]string{
		"another hour": strings.Replace(line.Key, "hour=08", "hour=09", 1), "other records": strings.Replace(line.Key, "1e.ndjson", "1d.ndjson", 1),
		"beyond": strings.Replace(line.Key, "1e.ndjson", "30.ndjson", 1),
	} {
		p, line := build()
		p["idc"].Set(key, p["idc"].Bytes(line.Key))
		p["idc"].Remove(line.Key)
		if r := p.audit(t); r.Verdict != audit.Damaged || finding(t, r, audit.ObjectUnknown, "idc").Key != key {
			t.Errorf("%s: %s, %+v", what, r.Verdict, r.Findings)
		}
	}

	// A place that was given up too says nothing about the range; one that begins after it neither.
	p, _ = build()
	p["colo"] = shiptest.Memory()
	newChain(t, p, "colo", nil).add(1, nil).next(2, joined(6, 41)).add(3, nil).add(0, final)
	both(t, p, audit.Complete, audit.ObjectNotOwed)
	delete(p, "s3")
	both(t, p, audit.Owed, audit.Uncovered)

	// A jump at the beginning of a chain explains nothing: its place had no objects before.
	p = newPlaces()
	newChain(t, p, "s3", nil).add(9, nil).add(0, final)
	c := newChain(t, p, "idc", joined(6, 41)).add(3, nil).add(0, final)
	c.put(4, 21, 30)
	both(t, p, audit.Damaged, audit.ObjectUnknown)
}
