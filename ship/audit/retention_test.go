package audit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// afterRetention is a time before which objects may have been deleted: those of testTime, but not those of lateTime.
var (
	lateTime       = testTime.Add(4 * time.Hour)
	afterRetention = testTime.Add(2 * time.Hour)
)

func retention(o *audit.Options) { o.Since = afterRetention }

// atTime lets the chain's sender write at another time.
func (c *chain) atTime(t time.Time) *chain {
	c.clock = t
	return c
}

// in lets the chain's owner use a format.
func (c *chain) in(format string) *chain {
	c.format = format
	return c
}

// expire deletes what a retention rule deletes at a place.
func (p places) expire(name string) {
	for _, key := range p[name].Keys() {
		if strings.HasPrefix(key, object.HourPrefix("vpn", object.HourOf(testTime))) {
			p[name].Remove(key)
		}
	}
}

// otherFormats is two copies of a volume. What both have, up to record 20, is old, and each place has it from another owner, in another
// format. change changes the manifest of records 11 to 20 at s3.
func otherFormats(t *testing.T, data string, change func(*ship.Manifest)) places {
	x := &copies{places: newPlaces()}
	x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).atTime(lateTime).by("a").whole(30, nil)
	x.s3B = newChain(t, x.places, "s3", nil).in(format.Lines).whole(10, nil).by(data).whole(20, change).atTime(lateTime).by("b").whole(30, nil)
	x.idcB = x.idcA.branch(1, "b", 2, 20).in(format.Lines).atTime(lateTime).whole(30, nil)
	x.s3A = x.s3B.branch(2, "a", 2, 20).in(format.NDJSON).atTime(lateTime).whole(30, nil)
	return x.finalize().places
}

// TestRetentionOtherFormat: retention has deleted objects of a segment that only its records show to be at both places. As with any object
// that may have been deleted, it does not matter whether one place or both have done so.
func TestRetentionOtherFormat(t *testing.T) {
	for _, names := range [][]string{nil, {"idc"}, {"s3"}, {"idc", "s3"}} {
		p := otherFormats(t, "x", nil)
		for _, name := range names {
			p.expire(name)
		}
		run := func(change ...func(*audit.Options)) *audit.Result { return p.audit(t, append(change, retention)...) }
		for _, r := range []*audit.Result{run(), run(deep)} {
			if wants(t, r, audit.Complete); t.Failed() {
				t.Fatalf("deleted at %v: %+v", names, r.Findings)
			}
		}
		for _, hour := range []time.Time{testTime, lateTime} {
			hourIs(t, fmt.Sprintf("deleted at %v", names), hour, audit.Complete, run)
		}
		if len(names) > 0 {
			if r := p.audit(t); r.Verdict != audit.Damaged {
				t.Errorf("deleted at %v, and there is no retention: %+v", names, r.Findings)
			}
			// A record of the time Since is not older than that.
			r := p.audit(t, func(o *audit.Options) { o.Since = testTime })
			finding(t, r, audit.Behind, "s3")
			if finding(t, r, audit.Behind, "idc"); r.Verdict != audit.Damaged {
				t.Errorf("deleted at %v, and not old enough: %+v", names, r.Findings)
			}
		}
	}
	// Objects that are there are compared, however old they are.
	p := otherFormats(t, "z", nil)
	r := p.audit(t, retention)
	wants(t, r, audit.Owed, audit.Behind)
	for _, place := range []string{"idc", "s3"} {
		if f := finding(t, r, audit.Behind, place); f.First != 11 || f.Last != 20 {
			t.Errorf("%+v", f)
		}
	}
}

// TestRetentionWatcher: a watcher that has compared the objects goes on when they are deleted, and so does one that has not.
func TestRetentionWatcher(t *testing.T) {
	p := otherFormats(t, "x", nil)
	age := func(o *audit.WatchOptions) { o.Retention = time.Since(afterRetention) }
	old := p.watch(t, age)
	step := func(w *audit.Watcher, verdict audit.Verdict, codes ...string) {
		t.Helper()
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wants(t, s.Result, verdict, codes...)
	}
	step(old, audit.Complete)
	p.expire("idc")
	p.expire("s3")
	step(old, audit.Complete)
	fresh := p.watch(t, age)
	step(fresh, audit.Complete)
	step(fresh, audit.Complete)
	// What it knows by lines only, it does not remember as compared.
	was := otherFormats(t, "z", nil)
	for _, name := range []string{"idc", "s3"} {
		for _, key := range was[name].Keys() {
			if p[name].Bytes(key) == nil {
				p[name].Set(key, was[name].Bytes(key))
			}
		}
	}
	if s, err := fresh.Step(t.Context()); err != nil || s.Result.Verdict == audit.Complete {
		t.Errorf("objects with other records came back: %+v, %v", s, err)
	}
}

// TestRetentionForged: somebody with write access to one place writes that a segment there is old enough to have been deleted. The lines of
// the other place show otherwise, or that it is another segment.
func TestRetentionForged(t *testing.T) {
	for what, change := range map[string]func(s *ship.SegmentLine){
		"time":    func(s *ship.SegmentLine) { s.MinTime, s.MaxTime = testTime, testTime },
		"newest":  func(s *ship.SegmentLine) { s.MaxTime = lateTime },
		"oldest":  func(s *ship.SegmentLine) { s.MinTime = s.MinTime.Add(-time.Second) },
		"bytes":   func(s *ship.SegmentLine) { s.Bytes++; s.RawBytes++ },
		"another": func(s *ship.SegmentLine) { s.MinTime, s.MaxTime = s.MinTime.Add(1), s.MaxTime.Add(1) },
	} {
		build := func(change func(*ship.SegmentLine)) (places, string) {
			p, late := newPlaces(), testTime
			if what == "time" {
				late = lateTime // the records are newer than any that may have been deleted
			}
			newChain(t, p, "idc", nil).add(1, nil).atTime(late).whole(20, nil).add(0, final).branch(1, "b", 2, 20).add(1, nil).add(0, final)
			key := ""
			c := newChain(t, p, "s3", nil).add(1, nil).in(format.Lines).atTime(late).whole(20, func(m *ship.Manifest) {
				change(&m.Segments[0])
				key = m.Segments[0].Key
			}).add(0, final).branch(1, "b", 2, 20)
			c.add(1, nil).add(0, final)
			return p, key
		}
		p, _ := build(func(*ship.SegmentLine) {})
		wants(t, p.audit(t, retention), audit.Complete)
		p, key := build(change)
		p["s3"].Remove(key)
		if what != "time" { // the other place's object may have been deleted, too
			for _, k := range p["idc"].Keys() {
				if strings.HasPrefix(k, key[:strings.Index(key, ".")]) {
					p["idc"].Remove(k)
				}
			}
		}
		for _, deeply := range []func(*audit.Options){retention, deep} {
			r := p.audit(t, deeply, retention)
			if f := finding(t, r, audit.Behind, "s3"); r.Verdict == audit.Complete || f.First != 11 || f.Last != 20 {
				t.Errorf("%s: %s: %+v", what, r.Verdict, r.Findings)
			}
		}
		run := func(change ...func(*audit.Options)) *audit.Result { return p.audit(t, append(change, retention)...) }
		hour, verdict := testTime, audit.Owed
		switch what {
		case "time":
			hour = lateTime
		case "newest":
			verdict = audit.Damaged // an object that is said to be newer must be there
		}
		hourIs(t, what, hour, verdict, run)
	}
}

// TestRetentionRests: retention has deleted objects of a segment that is whole at one place and a rest at the other one, in another format.
func TestRetentionRests(t *testing.T) {
	for _, formats := range [][2]string{{format.NDJSON, format.Lines}, {format.Lines, format.NDJSON}} {
		for _, names := range [][]string{{"idc"}, {"s3"}, {"idc", "s3"}} {
			for _, late := range []time.Duration{0, time.Second} {
				x := &copies{places: newPlaces()}
				x.idcA = newChain(t, x.places, "idc", nil).in(formats[0]).add(2, nil).mixedWhole("a", 30, nil)
				x.s3B = newChain(t, x.places, "s3", nil).in(formats[1]).add(2, nil).mixedWhole("b", 28, nil)
				x.idcB = x.idcA.branch(1, "b", 2, 23).in(formats[0]).rest(21, 28, nil)
				x.s3A = x.s3B.branch(2, "a", 2, 23).in(formats[1]).rest(21, 30, func(m *ship.Manifest) {
					m.Segments[0].MaxTime = m.Segments[0].MaxTime.Add(late)
				})
				x.finalize()
				for _, name := range names {
					x.expire(name)
				}
				for _, deeply := range []func(*audit.Options){retention, deep} {
					r := x.audit(t, deeply, retention)
					if late == 0 {
						wants(t, r, audit.Complete)
					} else if f := finding(t, r, audit.Behind, "s3"); f.First != 21 || f.Last != 30 { // the rest ends at another time
						t.Errorf("%s: %+v", r.Verdict, r.Findings)
					}
				}
			}
		}
	}
}

// TestRetentionDamagedWhole: retention has deleted objects of a segment, of which one place has a rest. The rest's owner read damaged records
// before it.
func TestRetentionDamagedWhole(t *testing.T) {
	for _, names := range [][]string{nil, {"idc"}, {"s3"}, {"idc", "s3"}} {
		for _, late := range []time.Duration{0, time.Second} {
			x := &copies{places: newPlaces()}
			x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).mixedWhole("a", 30, nil)
			x.s3B = newChain(t, x.places, "s3", nil).add(2, nil).mixedWhole("b", 28, nil)
			x.idcB = x.idcA.branch(1, "b", 2, 23).rest(21, 28, nil)
			x.s3A = x.s3B.branch(2, "a", 2, 23).rest(21, 30, func(m *ship.Manifest) {
				s := &m.Segments[0]
				s.Whole.Gaps, s.Whole.RawSHA256 = []segment.Range{{First: 21, Last: 21}}, strings.Repeat("ab", 32)
				s.MaxTime = s.MaxTime.Add(late)
			})
			x.finalize()
			for _, name := range names {
				x.expire(name)
			}
			for _, deeply := range []func(*audit.Options){retention, deep} {
				r := x.audit(t, deeply, retention)
				if late == 0 {
					wants(t, r, audit.Complete)
				} else if len(names) > 0 {
					finding(t, r, audit.Behind, "s3") // the rest ends at another time
				}
			}
		}
	}
}

// TestRetentionManyRelatives: somebody adds so many related chains that not all of their objects are compared. That tells nothing about the
// others: they are there, so their lines do not decide.
func TestRetentionManyRelatives(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "idc", nil).add(2, nil).by("aaa").whole(30, nil).add(0, final)
	c := newChain(t, p, "s3", nil).add(2, nil)
	for i := range 80 {
		c.branch(10+i, fmt.Sprintf("%03d", i), 2, 20).in(format.Lines).whole(30, nil).add(0, final)
	}
	c.add(0, final)
	r := p.audit(t, retention)
	if f := finding(t, r, audit.Behind, "s3"); r.Verdict == audit.Complete || f.First != 21 || f.Last != 30 {
		t.Errorf("%s: %+v", r.Verdict, r.Findings)
	}
}

// TestRetentionOtherSegments: a place lacks one of two owners' segments with the same first and last record. The line about the one that it
// has is not about the other one too.
func TestRetentionOtherSegments(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "idc", nil).add(1, nil).by("a").whole(20, nil).add(0, final).branch(1, "b", 1, 10).in(format.Lines).whole(20, nil).add(0, final)
	newChain(t, p, "s3", nil).add(1, nil).by("a").whole(20, nil).add(0, final)
	p.expire("idc")
	p.expire("s3")
	r := p.audit(t, retention)
	wants(t, r, audit.Owed, audit.Behind)
	if f := finding(t, r, audit.Behind, "s3"); f.First != 11 || f.Last != 20 || f.Spool != relatedID(1) {
		t.Errorf("%+v", f)
	}
	// Neither is it if it has yet another hash.
	p = newPlaces()
	newChain(t, p, "idc", nil).add(1, nil).by("a").whole(20, nil).add(0, final).branch(1, "b", 1, 10).whole(20, nil).add(0, final)
	newChain(t, p, "s3", nil).add(1, nil).by("a").in(format.Lines).whole(20, nil).add(0, final)
	p.expire("idc")
	p.expire("s3")
	r = p.audit(t, retention)
	wants(t, r, audit.Owed, audit.Behind)
	finding(t, r, audit.Behind, "s3")
}

// TestRetentionOneStatement: an owner's line without an object is about one segment of another place, even if that has two with the same
// first and last record. Its hash may say which one.
func TestRetentionOneStatement(t *testing.T) {
	for _, data := range []string{"x", "y", "z"} {
		p := newPlaces()
		c := newChain(t, p, "idc", nil).add(2, nil).in(format.Lines).by("y").whole(23, nil).add(0, final)
		c.branch(1, "z", 2, 20).in(format.Lines).whole(23, nil).add(0, final)
		c.branch(3, "a", 2, 23).also(0).in(format.NDJSON).rest(21, 30, nil).add(0, final)
		s := newChain(t, p, "s3", nil).add(2, nil).by("a").whole(30, nil).add(0, final)
		s.branch(2, data, 2, 23).in(format.Lines).rest(21, 23, nil).add(0, final)
		p.expire("idc")
		p.expire("s3")
		r := p.audit(t, retention)
		wants(t, r, audit.Owed, audit.Behind)
		if f := finding(t, r, audit.Behind, "s3"); f.First != 21 || f.Last != 23 || data == "y" && f.Spool != relatedID(1) || data == "z" && f.Spool != testSpool {
			t.Errorf("%s: %+v", data, f)
		}
	}
}

// TestRetentionDoubled: two segments of one place that nobody can compare any more are not called one.
func TestRetentionDoubled(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(1, nil).by("a").in(format.Native).whole(20, nativeLine).add(0, final).branch(1, "b", 1, 10).in(format.NDJSON).whole(20, nil).add(0, final)
		p.expire(name)
	}
	r := p.audit(t, retention)
	wants(t, r, audit.Complete)
}

// nativeLine lets the line of an object that is deleted later name the native format.
func nativeLine(m *ship.Manifest) {
	s := &m.Segments[0]
	s.Format, s.Key = format.Native, strings.Replace(s.Key, ".ndjson", ".seg", 1)
}

// TestRetentionOfOthers: retention has deleted objects of a segment that one place has in a longer object. That place has to have lines that
// are old enough and agree with the segment's.
func TestRetentionOfOthers(t *testing.T) {
	for _, tc := range []struct {
		what  string
		last  uint64 // of the segment, as its owner states it at s3
		clock time.Time
		long  func(*ship.SegmentLine) // changes the line of the longer object
		lacks bool
	}{
		{"right", 23, testTime, func(*ship.SegmentLine) {}, false},
		{"it ends elsewhere", 22, testTime, func(*ship.SegmentLine) {}, true},
		{"it begins at another time", 23, testTime, func(s *ship.SegmentLine) { s.MinTime = s.MinTime.Add(-1) }, true},
		{"it is over at another time", 23, testTime, func(s *ship.SegmentLine) { s.MinTime, s.MaxTime = s.MinTime.Add(-1), s.MaxTime.Add(-1) }, true},
		{"it is newer", 23, testTime, func(s *ship.SegmentLine) { s.MaxTime = lateTime }, true},
		{"it is newer than its forged line says", 23, lateTime, func(s *ship.SegmentLine) { s.MinTime, s.MaxTime = testTime, testTime }, true},
		{"its forged line begins at the right time", 23, lateTime, func(s *ship.SegmentLine) { s.MaxTime = testTime }, true},
	} {
		p := newPlaces()
		c := newChain(t, p, "idc", nil).add(2, nil).atTime(tc.clock).in(format.Lines)
		a := c.whole(23, nil).add(0, final).branch(1, "a", 2, 23).also(23).in(format.NDJSON).atTime(tc.clock)
		a.rest(21, 30, nil).add(0, final)
		key := ""
		b := newChain(t, p, "s3", nil).add(2, nil).atTime(tc.clock).mixedWhole("a", 30, func(m *ship.Manifest) {
			tc.long(&m.Segments[0])
			key = m.Segments[0].Key
		})
		b.add(0, final).branch(2, "x", 2, tc.last).atTime(tc.clock).also(0).rest(21, tc.last, nil).add(0, final)
		p["s3"].Remove(key)
		for range 2 {
			for _, deeply := range []func(*audit.Options){retention, deep} {
				r := p.audit(t, deeply, retention)
				if !tc.lacks {
					wants(t, r, audit.Complete)
				} else if f := finding(t, r, audit.Behind, "s3"); r.Verdict == audit.Complete || f.First != 21 || f.Last != 23 {
					t.Errorf("%s: %s: %+v", tc.what, r.Verdict, r.Findings)
				}
			}
			p.expire("s3")
			p.expire("idc")
		}
	}
}

// TestRetentionOfParts: a place has lines of old objects about parts of a segment. They have to be about all of its records, and these have to
// be old too.
func TestRetentionOfParts(t *testing.T) {
	for _, tc := range []struct {
		what  string
		to    uint64 // the last record of the second part
		clock time.Time
		lacks bool
	}{
		{"right", 30, testTime, false},
		{"no line has its end", 22, testTime, true},
		{"its end is newer", 30, lateTime, true},
	} {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(2, nil).atTime(tc.clock).in(format.Lines).whole(23, func(m *ship.Manifest) {
			m.Segments[0].MinTime = testTime
		}).add(0, final)
		c := newChain(t, p, "s3", nil).add(2, nil).whole(22, nil).add(0, final)
		if tc.to > 22 {
			c.branch(1, "x", 2, 22).rest(21, tc.to, nil).add(0, final)
		}
		c.branch(2, "x", 2, 23).rest(21, 23, nil).add(0, final)
		p.expire("s3")
		n := 0
		for _, f := range p.audit(t, retention).Findings {
			if f.Code == audit.Behind && f.Place == "s3" {
				n++
			}
		}
		if tc.lacks != (n == 1) {
			t.Errorf("%s: %+v", tc.what, p.audit(t, retention).Findings)
		}
	}
}
