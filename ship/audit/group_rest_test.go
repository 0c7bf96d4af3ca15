package audit_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// withRests: the segment that was being written when the copy was made begins alike in both.
func withRests(t *testing.T) *copies {
	x := &copies{places: newPlaces()}
	// The first three records of segment 3 are the same.
	common := func(c *chain) *chain { return c.by("x") }
	x.idcA = common(newChain(t, x.places, "idc", nil)).add(2, nil).mixedWhole("a", 30, lost(1)).whole(40, nil)
	x.s3B = common(newChain(t, x.places, "s3", nil)).add(2, nil).mixedWhole("b", 28, nil).whole(38, lost(2))
	x.idcB = x.idcA.branch(1, "b", 2, 23).rest(21, 28, nil).whole(38, lost(2))
	x.s3A = x.s3B.branch(2, "a", 2, 23).rest(21, 30, lost(1)).whole(40, nil)
	return x
}

// mixedWhole adds a segment whose first three records are "x" and the others the owner's.
func (c *chain) mixedWhole(data string, last uint64, change func(*ship.Manifest)) *chain {
	c.data, c.shared = data, c.last+3
	return c.whole(last, change)
}

// TestRests: at one place a segment is whole, and at the other one its beginning is in another owner's object.
func TestRests(t *testing.T) {
	both(t, withRests(t).finalize().places, audit.Complete)
	for _, name := range []string{"idc", "s3"} {
		both(t, places{name: withRests(t).finalize().places[name]}, audit.Complete)
	}
	// Without the chain that has the beginning, it is gone.
	x := withRests(t).finalize()
	for _, k := range x.places["s3"].Keys() {
		if isManifest.MatchString(k) && strings.Contains(k, "/"+testSpool+"/") && x.s3A.read(k).Footer.Last > 20 {
			x.places["s3"].Remove(k)
		}
	}
	r := x.audit(t)
	if f := finding(t, r, audit.SequenceBroken, "s3"); f.First != 21 || f.Last != 23 || f.Spool != relatedID(2) {
		t.Errorf("%+v", f)
	}
}

// TestRestAlone: the chain that has the beginning of a segment is gone with its objects, and the chain of a rest is all that is left of the
// group. A chain that states nothing, put in the place of the first one, explains nothing.
func TestRestAlone(t *testing.T) {
	for _, empty := range []bool{false, true} {
		for _, forged := range []bool{false, true} {
			p := newPlaces()
			delete(p, "idc")
			base := newChain(t, p, "s3", nil).by("x").add(2, nil).mixedWhole("b", 28, nil).add(0, final)
			a := base.branch(2, "a", 2, 23)
			if empty {
				a.rest(21, 23, lost(1)).add(0, final)
			} else {
				a.rest(21, 30, lost(1)).add(0, final)
			}
			both(t, p, audit.Complete)
			for _, k := range p["s3"].Keys() {
				if !strings.Contains(k, "/"+relatedID(2)+"/") && !a.names(k) {
					p["s3"].Remove(k)
				}
			}
			codes := []string{audit.SequenceBroken}
			if forged {
				newChain(t, p, "s3", nil).add(0, final)
			} else if !empty {
				codes = append(codes, audit.ChainMissing) // its objects have the id of the chain that is gone
			}
			r := both(t, p, audit.Damaged, codes...)
			if f := finding(t, r, audit.SequenceBroken, "s3"); f.First != 21 || f.Last != 23 || f.Spool != relatedID(2) {
				t.Errorf("%+v", f)
			}
		}
	}
}

// names reports whether the chain names an object.
func (c *chain) names(key string) bool {
	for _, k := range c.at.Keys() {
		if isManifest.MatchString(k) && strings.Contains(k, "/"+c.spool+"/") && slices.ContainsFunc(c.read(k).Segments, func(s ship.SegmentLine) bool { return s.Key == key }) {
			return true
		}
	}
	return false
}

// TestEmptyRests: two owners state about the same segment that the place already has all its records. Neither has delivered one of
// them, so none is there twice.
func TestEmptyRests(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		base := newChain(t, p, name, nil).by("x").add(2, nil).mixedWhole("a", 24, nil).add(0, final)
		for i, data := range []string{"b", "c"} {
			base.branch(1+i, data, 2, 23).rest(21, 23, lost(uint64(1+i))).whole(30, nil).add(0, final)
		}
	}
	both(t, p, audit.Complete)
}

// TestRestOfOthers: a line says that a rest begins later than it does. Only the records themselves show that.
func TestRestOfOthers(t *testing.T) {
	for _, formats := range [][2]string{{format.NDJSON, format.NDJSON}, {format.Lines, format.Lines}, {format.NDJSON, format.Lines}, {format.Lines, format.NDJSON}} {
		x := &copies{places: newPlaces()}
		form := func(c *chain) *chain {
			c.format = formats[0]
			if c.dest == "s3" {
				c.format = formats[1]
			}
			return c
		}
		x.idcA = form(newChain(t, x.places, "idc", nil)).add(2, nil).mixedWhole("a", 30, nil)
		x.s3B = form(newChain(t, x.places, "s3", nil)).add(2, nil).mixedWhole("b", 28, nil)
		x.idcB = form(x.idcA.branch(1, "b", 2, 23)).rest(21, 28, nil)
		x.s3A = form(x.s3B.branch(2, "a", 2, 25)).rest(21, 30, nil)
		x.finalize()
		r := x.audit(t, deep)
		wants(t, r, audit.Damaged, audit.SequenceBroken)
		if f := finding(t, r, audit.SequenceBroken, "s3"); f.First != 24 || f.Last != 25 || f.Spool != relatedID(2) {
			t.Errorf("%+v", f)
		}
	}
}

// TestRestOfDamagedWhole: the line of a rest says that the complete segment was damaged before the rest begins. That may be true, since the
// place has these records in another owner's object. It excuses no records of the rest, and none that the place has nowhere.
func TestRestOfDamagedWhole(t *testing.T) {
	gap := func(m *ship.Manifest) {
		m.Segments[0].Whole.Gaps, m.Segments[0].Whole.RawSHA256 = []segment.Range{{First: 21, Last: 21}}, strings.Repeat("ab", 32)
	}
	rest := func(data string) places {
		x := &copies{places: newPlaces()}
		x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).mixedWhole("a", 30, nil)
		x.s3B = newChain(t, x.places, "s3", nil).add(2, nil).mixedWhole("b", 28, nil)
		x.idcB = x.idcA.branch(1, "b", 2, 23).rest(21, 28, nil)
		x.s3A = x.s3B.branch(2, data, 2, 23).rest(21, 30, gap)
		return x.finalize().places
	}
	both(t, rest("a"), audit.Complete)
	r := both(t, rest("z"), audit.Owed, audit.Behind)
	if f := finding(t, r, audit.Behind, "s3"); f.First != 21 || f.Last != 30 || f.Spool != testSpool {
		t.Errorf("%+v", f)
	}
	empty := func(data string, also uint64) places {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(2, nil).by("x").whole(23, nil).add(0, final).branch(1, "a", 2, 23).also(23).rest(21, 30, nil).add(0, final)
		newChain(t, p, "s3", nil).add(2, nil).also(also).by(data).whole(30, nil).add(0, final).branch(2, "x", 2, 23).also(0).rest(21, 23, gap).add(0, final)
		return p
	}
	both(t, empty("a", 23), audit.Complete)
	both(t, empty("z", 20), audit.Owed, audit.Behind)
}

// TestRestOfOtherRecords: the line of a rest states the hash of the segment that another place has, and its object has other records.
func TestRestOfOtherRecords(t *testing.T) {
	x := &copies{places: newPlaces()}
	x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).mixedWhole("a", 30, nil)
	x.s3B = newChain(t, x.places, "s3", nil).add(2, nil).mixedWhole("b", 28, nil)
	x.idcB = x.idcA.branch(1, "b", 2, 23).rest(21, 28, nil)
	right := x.idcA.read(object.ManifestKey("vpn", testSpool, 1, 2)).Segments[0].RawSHA256
	x.s3A = x.s3B.branch(2, "z", 2, 23).rest(21, 30, func(m *ship.Manifest) { m.Segments[0].Whole.RawSHA256 = right })
	r := x.finalize().audit(t, deep)
	wants(t, r, audit.Damaged, audit.PlacesDiffer)
	if f := finding(t, r, audit.PlacesDiffer, "s3"); f.First != 24 || f.Last != 30 || f.Spool != relatedID(2) {
		t.Errorf("%+v", f)
	}
}

// TestGroupOtherHour: an object is in the folder of another hour than the same records at the other place: as a rest, or in another format.
// Neither hour is complete.
func TestGroupOtherHour(t *testing.T) {
	early := func(p places) func(m *ship.Manifest) {
		return func(m *ship.Manifest) {
			s := &m.Segments[0]
			b := p["s3"].Bytes(s.Key)
			p["s3"].Remove(s.Key)
			s.Key = strings.Replace(s.Key, "hour=08", "hour=05", 1)
			p["s3"].Set(s.Key, b)
		}
	}
	x := &copies{places: newPlaces()}
	x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).mixedWhole("a", 30, nil)
	x.s3B = newChain(t, x.places, "s3", nil).add(2, nil).mixedWhole("b", 28, nil)
	x.idcB = x.idcA.branch(1, "b", 2, 23).rest(21, 28, nil)
	x.s3A = x.s3B.branch(2, "a", 2, 23).rest(21, 30, early(x.places))
	p := newPlaces()
	newChain(t, p, "idc", nil).add(2, nil).by("a").whole(30, nil).add(0, final).branch(1, "b", 2, 20).whole(28, nil).add(0, final)
	c := newChain(t, p, "s3", nil).add(2, nil).by("a")
	c.format = format.Lines
	c.whole(30, early(p)).add(0, final).branch(1, "b", 2, 20).whole(28, nil).add(0, final)
	for _, p := range []places{x.finalize().places, p} {
		both(t, p, audit.Damaged, audit.PlacesDiffer)
		for _, hour := range []time.Time{testTime, testTime.Add(-3 * time.Hour)} {
			hourIs(t, "an object of another hour", hour, audit.Damaged, func(change ...func(*audit.Options)) *audit.Result { return p.audit(t, change...) })
		}
	}
}

func (c *chain) read(key string) *ship.Manifest {
	m, err := ship.DecodeManifest(bytes.NewReader(c.at.Bytes(key)))
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// TestRestOfNothing: the segment of one owner is the beginning of another's. Where the longer one came first, the other's
// line names no object, and states its losses.
func TestRestOfNothing(t *testing.T) {
	build := func() *copies {
		x := &copies{places: newPlaces()}
		x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).by("a").whole(30, lost(1))
		x.s3B = newChain(t, x.places, "s3", nil).add(2, nil).by("a").whole(28, lost(2))
		x.idcB = x.idcA.branch(1, "a", 2, 28).rest(21, 28, lost(2))
		x.s3A = x.s3B.branch(2, "a", 2, 28).rest(21, 30, lost(1))
		return x
	}
	both(t, build().finalize().places, audit.Complete)
	x := build()
	x.idcB.at.Remove(object.ManifestKey("vpn", relatedID(1), 1, 1))
	x.idcB = x.idcA.branch(1, "a", 2, 28)
	r := both(t, x.finalize().places, audit.Owed, audit.Behind)
	if f := finding(t, r, audit.Behind, "idc"); f.First != 21 || f.Last != 28 || f.Spool != testSpool || !strings.Contains(f.Detail, "1 loss lines") {
		t.Errorf("%+v", f)
	}
}

// TestRestOfNothingInOtherFormat: the segment of one owner is the beginning of another's. One place has it as an object. At the other one its
// records are in the longer object, and the line without an object is that of an owner who encodes the segment in another format. So only
// the records show that both places have it.
func TestRestOfNothingInOtherFormat(t *testing.T) {
	idc := func(p places, data string) {
		c := newChain(t, p, "idc", nil).add(2, nil).by(data)
		c.format = format.Lines
		a := c.whole(23, nil).add(0, final).branch(1, "a", 2, 23).also(23)
		a.format = format.NDJSON
		a.rest(21, 30, nil).add(0, final)
	}
	s3 := func(p places, a *chain) {
		a.add(0, final).branch(2, "x", 2, 23).also(0).rest(21, 23, nil).add(0, final)
	}
	begin := func(p places) *chain { return newChain(t, p, "s3", nil).add(2, nil) }

	p := newPlaces()
	idc(p, "x")
	s3(p, begin(p).mixedWhole("a", 30, nil))
	both(t, p, audit.Complete)

	// A line without an object proves nothing: somebody may have written it at a place that has other records.
	p = newPlaces()
	idc(p, "z")
	s3(p, begin(p).mixedWhole("a", 30, nil))
	r := p.audit(t)
	wants(t, r, audit.Owed, audit.Behind)
	if f := finding(t, r, audit.Behind, "s3"); f.First != 21 || f.Last != 23 || f.Spool != testSpool {
		t.Errorf("%+v", f)
	}
	// Neither does the line of the longer object.
	p = newPlaces()
	idc(p, "x")
	right := ship.BytesObject("", "", (&chain{data: "a", shared: 23}).raw(21, 30)).SHA256
	s3(p, begin(p).by("a").whole(30, func(m *ship.Manifest) { m.Segments[0].RawSHA256 = fmt.Sprintf("%x", right) }))
	wants(t, p.audit(t), audit.Owed, audit.Behind)
	wants(t, p.audit(t, deep), audit.Damaged, audit.Behind, audit.ObjectAltered, audit.SequenceBroken)
	// Two lines whose records are in no object do not vouch for each other.
	p = newPlaces()
	c := newChain(t, p, "idc", nil).add(2, nil).add(0, final)
	c.branch(1, "a", 2, 23).also(23).rest(21, 30, nil).add(0, final)
	c.branch(3, "x", 2, 23).also(0).rest(21, 23, nil).add(0, final)
	s3(p, begin(p).mixedWhole("a", 30, nil))
	both(t, p, audit.Damaged, audit.SequenceBroken)
	// A record that was damaged in the shorter segment is looked for nowhere.
	p = newPlaces()
	gap := []segment.Range{{First: 22, Last: 22}}
	begin(p).mixedWhole("a", 30, nil).add(0, final).branch(2, "x", 2, 23).also(0).rest(21, 23, func(m *ship.Manifest) {
		m.Segments[0].Whole.Gaps = gap
	}).add(0, final)
	c = newChain(t, p, "idc", nil).add(2, nil)
	c.format = format.Lines
	a := c.whole(23, func(m *ship.Manifest) {
		m.Segments[0] = c.put(3, 21, 22) // two lines of text
		s := &m.Segments[0]
		key := s.Key
		s.Last, s.Gaps, s.Key = 23, gap, strings.Replace(key, "16.log", "17.log", 1)
		c.at.Set(s.Key, c.at.Bytes(key))
		c.at.Remove(key)
	}).add(0, final).branch(1, "a", 2, 23).also(23)
	a.format = format.NDJSON
	a.rest(21, 30, nil).add(0, final)
	both(t, p, audit.Damaged, audit.RecordsDamaged)
}

// TestRestsOfNothingInOtherFormats: each place has a segment in a longer object, and different owners state that, each in a format of its own.
func TestRestsOfNothingInOtherFormats(t *testing.T) {
	build := func(last uint64) places {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(2, nil).mixedWhole("a", 30, nil).add(0, final).branch(1, "x", 2, 23).rest(21, 23, nil).add(0, final)
		c := newChain(t, p, "s3", nil).add(2, nil).mixedWhole("a", 30, nil).add(0, final).branch(2, "x", 2, last)
		c.format = format.Lines
		c.rest(21, last, nil).add(0, final)
		return p
	}
	both(t, build(23), audit.Complete)
	// It is another segment if it ends elsewhere.
	r := both(t, build(22), audit.Owed, audit.Behind)
	finding(t, r, audit.Behind, "idc")
	finding(t, r, audit.Behind, "s3")
}

// TestSuperseded: an owner had uploaded a segment before it found the chain continued by another. It delivered the rest
// elsewhere, and the object that it had uploaded is a second copy; one that holds anything else is not.
func TestSuperseded(t *testing.T) {
	x := withRests(t).finalize()
	line := x.s3A.by("a").put(3, 21, 30)
	if x.s3A.shared != 23 {
		t.Fatal("not the whole segment")
	}
	r := both(t, x.places, audit.Complete, audit.ObjectSuperseded)
	if f := finding(t, r, audit.ObjectSuperseded, "s3"); f.Key != line.Key || f.Verdict != audit.Complete || !strings.Contains(f.Other, relatedID(2)) || !strings.Contains(f.Cure, "keep it") {
		t.Errorf("%+v", f)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "\ncomplete: 4 chains") {
		t.Errorf("%v\n%s", err, &text)
	}
	w := x.watch(t)
	step := func() *audit.Result {
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Result
	}
	right := x.places["s3"].Bytes(line.Key)
	for what, content := range map[string][]byte{
		"other records": compressed(t, (&chain{data: "z"}).raw(21, 30), 1), "damaged": []byte("x"),
		"more records": compressed(t, x.s3A.raw(21, 31), 1), "fewer records": compressed(t, x.s3A.raw(21, 29), 1),
	} {
		// An increment sees a change by the size.
		x.places["s3"].Set(line.Key, right)
		wants(t, step(), audit.Complete, audit.ObjectSuperseded)
		x.places["s3"].Set(line.Key, content)
		results := []*audit.Result{x.audit(t)}
		if len(content) != len(right) {
			results = append(results, step())
		}
		for _, r := range results {
			if r.Verdict != audit.Damaged || finding(t, r, audit.ObjectUnknown, "s3").Key != line.Key {
				t.Errorf("%s: %+v", what, r.Findings)
			}
		}
	}
	// The chain of the other copy may state nothing but its end.
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(2, nil).add(0, final).branch(1, "b", 2, 20).add(0, final)
	}
	line = (&chain{t: t, at: p["s3"], data: "x"}).put(2, 11, 20)
	key := strings.Replace(line.Key, ".ndjson", ".0123456789abcdef.ndjson", 1)
	p["s3"].Set(key, p["s3"].Bytes(line.Key))
	both(t, p, audit.Complete, audit.ObjectSuperseded)
	p["s3"].Set(key, compressed(t, (&chain{data: "z"}).raw(11, 20), 1))
	both(t, p, audit.Damaged, audit.ObjectUnknown)
	// The same object beside a chain of a spool without copies is unknown.
	p = newPlaces()
	newChain(t, p, "idc", nil).add(2, nil).add(0, final)
	c := newChain(t, p, "s3", nil).add(2, nil).add(0, final)
	key = strings.Replace(c.put(2, 11, 20).Key, ".ndjson", ".0123456789abcdef.ndjson", 1)
	p["s3"].Set(key, p["s3"].Bytes(c.put(2, 11, 20).Key))
	both(t, p, audit.Damaged, audit.ObjectUnknown)
}

// TestManyCovers: two other owners' objects have the beginning of a rest in parts, and one of the two has other records where
// the other has them. And a rest that was uploaded ahead is part of a longer one.
func TestManyCovers(t *testing.T) {
	for _, format := range format.Names()[:2] {
		p := newPlaces()
		p["colo"] = shiptest.Memory()
		begin := func(name string) *chain {
			c := newChain(t, p, name, nil)
			c.format = format
			return c.add(2, nil)
		}
		// Of segment 3, 21 to 30: the owner of "a" has x up to 23; "b" left that after 21, "c" has x up to 23 too, and ends there.
		idc := begin("idc").mixedWhole("a", 30, nil).add(0, final)
		idc.branch(1, "b", 2, 21).by("b").also(21).rest(21, 30, nil).add(0, final)
		idc.branch(2, "x", 2, 23).by("x").rest(21, 23, nil).add(0, final)
		s3 := begin("s3").by("b").also(21).whole(30, nil).add(0, final)
		a := s3.branch(3, "a", 2, 21).by("a").also(23).rest(21, 30, nil).add(0, final)
		s3.branch(4, "x", 2, 23).by("x").rest(21, 23, nil).add(0, final)
		colo := begin("colo").whole(23, nil).add(0, final)
		colo.branch(5, "a", 2, 23).also(23).rest(21, 30, nil).add(0, final)
		colo.branch(6, "b", 2, 21).also(21).rest(21, 30, nil).add(0, final)
		both(t, p, audit.Complete)
		line := a.by("x").put(3, 22, 23)
		r := both(t, p, audit.Complete, audit.ObjectSuperseded)
		if f := finding(t, r, audit.ObjectSuperseded, "s3"); f.Key != line.Key {
			t.Errorf("%+v", f)
		}
	}
}

// also makes the records of an owner up to one "x".
func (c *chain) also(last uint64) *chain {
	c.shared = last
	return c
}

// TestOtherFormat: the owners of two copies encode what both hold in different formats, so that its hashes differ; and one of them
// delivers it after it was damaged.
func TestOtherFormat(t *testing.T) {
	build := func(data string) *copies {
		x := &copies{places: newPlaces()}
		x.idcA = newChain(t, x.places, "idc", nil).add(2, nil).by("a").whole(30, nil)
		c := newChain(t, x.places, "s3", nil).by("x")
		c.format = format.Lines
		x.s3B = c.whole(10, nil).by(data).whole(20, nil).by("b").whole(30, nil)
		x.idcB = x.idcA.branch(1, "b", 2, 20)
		x.idcB.format = format.Lines
		x.idcB.whole(30, nil)
		x.s3A = x.s3B.branch(2, "a", 2, 20)
		x.s3A.format = format.NDJSON
		x.s3A.whole(30, nil)
		return x.finalize()
	}
	both(t, build("x").places, audit.Complete)
	r := both(t, build("z").places, audit.Owed, audit.Behind)
	for _, place := range []string{"idc", "s3"} {
		if f := finding(t, r, audit.Behind, place); f.First != 11 || f.Last != 20 {
			t.Errorf("%+v", f)
		}
	}

	x := mixed(t)
	key := object.ManifestKey("vpn", relatedID(2), 1, 2)
	m := x.s3A.read(key)
	s := &m.Segments[0]
	x.places["s3"].Remove(s.Key)
	*s = ship.SegmentLine{Segment: s.Segment, First: s.First, Last: s.Last, Gaps: []segment.Range{{First: s.First, Last: s.Last}}}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	x.places["s3"].Set(key, b)
	x.s3A.hash = m.Hash
	both(t, x.finalize().places, audit.Damaged, audit.RecordsDamaged)
}

// TestGroupMutations damages one place of a group. No damage goes unnoticed, and the other place's objects are not accused.
func TestGroupMutations(t *testing.T) {
	kinds := []func(*mutator) mutation{
		(*mutator).rename, (*mutator).swap, (*mutator).cutTail, (*mutator).rollBack, (*mutator).forge, (*mutator).rewrite,
		(*mutator).alterLoss, (*mutator).skippable, (*mutator).alterEnd, (*mutator).mix,
	}
	build := []func(*testing.T) *copies{mixed, withRests}
	for i := range 20 * len(kinds) {
		x := build[i/len(kinds)%2](t).finalize()
		m := &mutator{Rand: rand.New(rand.NewPCG(8, uint64(i))), t: t, at: x.places["s3"], other: x.places["idc"]}
		done := kinds[i%len(kinds)](m)
		r := x.audit(t, deep)
		if r.Verdict == audit.Complete || len(r.Findings) == 0 {
			t.Errorf("mutation %d: %s: nothing is said", i, done.what)
		}
		for _, key := range done.keys {
			said := slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Key == key || strings.HasSuffix(f.Other, ": "+key) })
			// If no head shows that the end of a chain was cut off, the missing records are reported as owed.
			if owed := slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Place == "s3" }); !said && !owed {
				t.Errorf("mutation %d: %s: nothing is said of %s: %+v", i, done.what, key, r.Findings)
			}
		}
		for _, f := range r.Findings {
			if f.Place == "idc" && f.Code != audit.Behind {
				t.Errorf("mutation %d: %s: the other place is accused: %+v", i, done.what, f)
			}
		}
	}
}
