package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// distant states that a chain has passed all hours that anyone asks about.
func distant(m *ship.Manifest) { m.Footer.Passed = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) }

// grows is a place at which something happens when a key is asked for.
func grows(d ship.Destination, key string, grow func()) ship.Destination {
	return shiptest.Faulty(d, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Stat && c.Key == key {
			grow()
		}
		return shiptest.Fault{}
	})
}

// hourIs checks the verdict on an hour, by the whole audit and by an audit of that hour.
func hourIs(t *testing.T, what string, hour time.Time, want audit.Verdict, run func(change ...func(*audit.Options)) *audit.Result) {
	t.Helper()
	hour = hour.Truncate(time.Hour)
	found := false
	for i, r := range []*audit.Result{run(), run(func(o *audit.Options) { o.Class, o.Hour = "vpn", hour })} {
		for _, h := range r.Hours {
			if h.Hour.Equal(hour) {
				found = true
				if h.Verdict != want {
					t.Errorf("%s, audit %d: hour %v is %s, want %s: %+v", what, i, hour, h.Verdict, want, r.Findings)
				}
			}
		}
	}
	if !found {
		t.Errorf("%s: the hour is not there", what)
	}
}

// TestExcusedBeginning: the chain that has the beginning of a segment is gone with its objects, and a forged chain without records pretends
// to have it: it grows during each audit, or cannot be read. It states that it has passed all hours. The hour of the segment is owed.
func TestExcusedBeginning(t *testing.T) {
	for _, rest := range []uint64{30, 23} { // with an object, and without
		for _, how := range []string{"growth", "hole"} {
			p := places{"s3": shiptest.Memory()}
			base := newChain(t, p, "s3", nil).by("x").add(2, nil).mixedWhole("b", 28, nil).add(0, final)
			a := base.branch(2, "a", 2, 23).rest(21, rest, lost(1)).add(0, final)
			for _, k := range p["s3"].Keys() {
				if !strings.Contains(k, "/"+relatedID(2)+"/") && !a.names(k) {
					p["s3"].Remove(k)
				}
			}
			newChain(t, p, "s3", nil).add(0, final) // so that the object's spool has a chain
			x := &chain{t: t, at: p["s3"], dest: "s3", spool: relatedID(3), data: "x", epoch: 1, segment: 2, last: 20}
			x.add(0, func(m *ship.Manifest) {
				m.Header.Joined = 21
				distant(m)
			})
			hourIs(t, how, testTime, audit.Owed, func(change ...func(*audit.Options)) *audit.Result {
				var d ship.Destination
				if how == "hole" {
					key := object.ManifestKey("vpn", x.spool, 1, 1)
					p["s3"].Set(key, []byte("{"))
					d = veiled(p["s3"], only(key), errArchived)
				} else {
					d = grows(p["s3"], object.ManifestKey("vpn", x.spool, 1, x.number), func() { x.add(0, distant) })
				}
				o := &audit.Options{Places: []audit.Place{{Name: "s3", Destination: d}}}
				for _, f := range change {
					f(o)
				}
				r, err := audit.Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				return r
			})
		}
	}
}

// TestExcusedHole: a place lacks records of an hour, and the manifests around a hole in its chain state other hours. The records are owed in
// their hour, whether the hole is in the chain that had them, or in one of the same id with the records of another owner.
func TestExcusedHole(t *testing.T) {
	late := testTime.Add(4 * time.Hour)
	build := map[string]func(p places){
		"of its own chain": func(p places) {
			x := newChain(t, p, "idc", nil).add(2, nil)
			x.clock = late
			x.add(2, nil).add(0, final)
			c := newChain(t, p, "s3", nil)
			c.clock = late
			c.add(0, distant).add(0, nil)
			p["s3"].Remove(object.ManifestKey("vpn", testSpool, 1, 2))
			c.segment, c.last = 2, 20
			c.add(2, nil).add(0, final)
		},
		"of a cut epoch": func(p places) {
			x := newChain(t, p, "idc", nil).add(2, nil)
			x.clock = late
			x.add(2, nil).add(0, final)
			c := newChain(t, p, "s3", nil).add(0, distant)
			c.clock = late
			c.segment, c.last, c.hash = 2, 20, [32]byte{1}
			c.next(2, nil).add(2, nil).add(0, final)
		},
		"of another owner's chain": func(p places) {
			a := newChain(t, p, "idc", nil).add(3, nil).by("a").whole(30, nil)
			b := a.branch(1, "b", 3, 20)
			a.add(0, final)
			b.clock = late
			b.whole(30, nil).add(0, final)
			c := newChain(t, p, "s3", nil).add(3, nil).by("b")
			c.branch(2, "a", 3, 20).add(0, final) // it should have the records of a
			c.clock = late
			c.add(0, func(m *ship.Manifest) { m.Footer.Passed = late.Truncate(time.Hour) }).whole(30, nil).add(0, final)
			p["s3"].Remove(object.ManifestKey("vpn", testSpool, 1, c.number-2))
		},
	}
	for what, f := range build {
		p := newPlaces()
		f(p)
		hourIs(t, what, testTime, audit.Owed, func(change ...func(*audit.Options)) *audit.Result { return p.audit(t, change...) })
	}
}

// TestExcusedCut: a chain ends before a manifest that a head or a closing names, and that manifest appears during each audit. What it
// may state is owed.
func TestExcusedCut(t *testing.T) {
	for _, how := range []string{"a head", "a closing", "a head of a chain that has begun", "a head and a forged end"} {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(2, nil).add(0, final)
		c := newChain(t, p, "s3", nil).add(2, nil).add(0, final)
		switch how {
		case "a head":
			c.next(2, nil).head(p["idc"], 0, false)
		case "a closing":
			c.next(2, nil)
			p.closeSpool(t, "vpn", testSpool, nil, "s3")
		case "a head of a chain that has begun":
			c = &chain{t: t, at: p["s3"], dest: "s3", spool: strings.Repeat("8", 26), data: "x", epoch: 1}
			c.add(0, nil).head(p["idc"], 0, false)
		default:
			p["s3"].Remove(object.ManifestKey("vpn", testSpool, 1, 2))
			c.number = 2
			c.hash = c.read(object.ManifestKey("vpn", testSpool, 1, 1)).Hash
			c.add(0, distant).add(0, nil).head(p["idc"], 0, false)
		}
		key := object.ManifestKey("vpn", c.spool, c.epoch, c.number-1)
		b := p["s3"].Bytes(key)
		hourIs(t, how, testTime, audit.Owed, func(change ...func(*audit.Options)) *audit.Result {
			p["s3"].Remove(key)
			r, err := p.auditWith(t, grows(p["s3"], key, func() { p["s3"].Set(key, b) }), change...)
			if err != nil {
				t.Fatal(err)
			}
			return r
		})
	}
}

// TestExcusedByDamage: the line of a segment says that its records were damaged before they were delivered, and states another hour, by its
// key or, if it has no object, by the manifests around it. The hour that the other place states is owed.
func TestExcusedByDamage(t *testing.T) {
	build := func(damage func(p places, s *ship.SegmentLine)) places {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(2, nil).add(0, final)
		newChain(t, p, "s3", nil).add(1, distant).add(1, func(m *ship.Manifest) {
			m.Header.Time = m.Header.Time.AddDate(1, 0, 0)
			damage(p, &m.Segments[0])
		}).add(0, final)
		return p
	}
	whole := build(func(p places, s *ship.SegmentLine) {
		p["s3"].Remove(s.Key)
		*s = ship.SegmentLine{Segment: s.Segment, First: s.First, Last: s.Last, Gaps: []segment.Range{{First: s.First, Last: s.Last}}}
	})
	part := build(func(p places, s *ship.SegmentLine) {
		p["s3"].Remove(s.Key)
		early := &chain{t: t, at: shiptest.Memory(), data: "x", clock: testTime.Add(-3 * time.Hour)}
		o := early.put(2, 12, 12)
		b := early.at.Bytes(o.Key)
		o.Key = strings.Replace(o.Key, "000000000000000c-000000000000000c", "000000000000000b-0000000000000014", 1)
		p["s3"].Set(o.Key, b)
		o.First, o.Last, o.Gaps = 11, 20, []segment.Range{{First: 11, Last: 11}, {First: 13, Last: 20}}
		*s = o
	})
	x := &copies{places: newPlaces()}
	x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).mixedWhole("a", 30, nil)
	x.s3B = newChain(t, x.places, "s3", nil).add(2, nil).mixedWhole("b", 28, nil)
	x.idcB = x.idcA.branch(1, "b", 2, 23).rest(21, 28, nil)
	x.s3A = x.s3B.branch(2, "a", 2, 23).add(0, distant).rest(21, 30, func(m *ship.Manifest) {
		m.Header.Time = m.Header.Time.AddDate(1, 0, 0)
		s := &m.Segments[0]
		x.places["s3"].Remove(s.Key)
		*s = ship.SegmentLine{Segment: s.Segment, First: s.First, Last: s.Last, Whole: s.Whole, Gaps: []segment.Range{{First: s.First, Last: s.Last}}}
	})
	for what, p := range map[string]places{"all of it": whole, "a part": part, "a rest": x.finalize().places} {
		both(t, p, audit.Damaged, audit.RecordsDamaged)
		for i, r := range []*audit.Result{p.audit(t), p.audit(t, func(o *audit.Options) { o.Hour = testTime })} {
			for _, h := range r.Hours {
				if h.Hour.Equal(testTime.Truncate(time.Hour)) && h.Verdict == audit.Complete {
					t.Errorf("%s, audit %d: the hour is complete: %+v", what, i, r.Findings)
				}
			}
		}
	}
}
