package audit_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// sumless is a place that keeps no checksums.
type sumless struct{ *shiptest.MemoryDestination }

func (s sumless) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	r, err := s.MemoryDestination.Stat(ctx, key)
	r.Checksum = ""
	return r, err
}

// describes makes a line's receipt describe the bytes that a place has under its key.
func describes(at *shiptest.MemoryDestination, s *ship.SegmentLine) {
	o := ship.BytesObject(s.Key, "", at.Bytes(s.Key))
	s.Receipt = &ship.Receipt{Size: o.Size, Checksum: ship.CRC64Checksum(o.CRC64NVME), Method: "head", Time: testTime}
}

// contested is two places at which two copies of a volume have delivered their fourth segment. At s3, somebody who may write there has
// made the line of one copy name the object of the other.
type contested struct {
	places
	key     string
	genuine []string // the manifests at s3 of the chain that has stored the object
	forged  []string // those of the other one
}

// forgeries are what such a line says.
var forgeries = map[string]struct {
	data   string // of the records that the line was made for
	forge  func(at *shiptest.MemoryDestination, s *ship.SegmentLine)
	codes  []string
	plain  []string // without Deep, default codes
	blind  []string // without Deep, at a place without checksums; default plain
	shared bool     // the other place has one copy only
}{
	"other records, and a receipt that fits the object": {
		data: "b", forge: describes, codes: []string{audit.LineWrong, audit.ObjectAltered},
	},
	"other records of the same length, as they were staged": {
		data: "b", forge: func(at *shiptest.MemoryDestination, s *ship.SegmentLine) {
			s.Size = int64(len(at.Bytes(s.Key)))
			s.SHA256 = strings.Repeat("0", 64)
			s.Receipt = &ship.Receipt{Size: s.Size, Checksum: "sha256:" + s.SHA256, Method: "read-back", Time: testTime}
		}, codes: []string{audit.LineWrong, audit.ObjectAltered}, blind: []string{audit.LineWrong},
	},
	"the same records, and the hash of other bytes": {
		data: "a", forge: func(_ *shiptest.MemoryDestination, s *ship.SegmentLine) {
			s.SHA256 = strings.Repeat("0", 64)
			s.Receipt = &ship.Receipt{Size: s.Size, Checksum: "sha256:" + s.SHA256, Method: "read-back", Time: testTime}
		}, codes: []string{audit.LineWrong, audit.ObjectAltered, audit.RecordsDoubled},
		plain:  []string{audit.LineWrong, audit.RecordsDoubled}, // its CRC fits
		shared: true,
	},
}

// contest builds the places. related: the chain of the related id has stored the object.
func contest(t *testing.T, what string, related bool) *contested {
	x, f := &contested{places: newPlaces()}, forgeries[what]
	c := newChain(t, x.places, "idc", nil).add(3, nil).by("a").whole(30, nil).add(0, final)
	if !f.shared {
		c.branch(1, f.data, 3, 20).whole(30, nil).add(0, final)
	}
	at := x.places["s3"]
	first := newChain(t, x.places, "s3", nil).add(3, nil)
	second := first.branch(2, "a", 3, 20)
	if related {
		first, second = second, first
	}
	first.by("a").whole(30, func(m *ship.Manifest) { x.key = m.Segments[0].Key }).add(0, final)
	second.by(f.data).whole(30, func(m *ship.Manifest) {
		s := &m.Segments[0]
		if s.Key != x.key {
			at.Remove(s.Key)
		}
		s.Key = x.key
		f.forge(at, s)
	}).add(0, final)
	last := func(c *chain) (keys []string) {
		for n := c.number - 2; n < c.number; n++ {
			keys = append(keys, object.ManifestKey("vpn", c.spool, 1, n))
		}
		return keys
	}
	x.genuine, x.forged = last(first), last(second)
	return x
}

// TestContestedObject: two lines of a place name one object, which cannot be what both say. Whichever line comes first, what is known of
// the object by one line says nothing about the other line.
func TestContestedObject(t *testing.T) {
	for what, f := range forgeries {
		plain := f.plain
		if plain == nil {
			plain = f.codes
		}
		blind := f.blind
		if blind == nil {
			blind = plain
		}
		for _, related := range []bool{false, true} {
			t.Run(fmt.Sprint(what, ", ", related), func(t *testing.T) {
				x := contest(t, what, related)
				wants(t, x.audit(t), audit.Damaged, plain...)
				wants(t, x.audit(t, deep), audit.Damaged, f.codes...)
				r, err := x.auditWith(t, sumless{x.places["s3"]})
				if err != nil {
					t.Fatal(err)
				}
				wants(t, r, audit.Damaged, blind...)
				for i := range 4 {
					late, codes := x.forged, plain
					if i%2 == 1 {
						late = x.genuine
					}
					change := func(*audit.WatchOptions) {}
					if i >= 2 {
						change, codes = func(o *audit.WatchOptions) { o.Deep = true }, f.codes
					}
					synctest.Test(t, func(t *testing.T) { watchContested(t, x.clone(), late, change, codes) })
				}
			})
		}
	}
}

// watchContested has a Watcher see some manifests at s3 later than the others.
func watchContested(t *testing.T, p places, late []string, change func(*audit.WatchOptions), codes []string) {
	time.Sleep(time.Until(testTime.Add(time.Hour)))
	w := p.watch(t, change)
	step := func() *audit.Result {
		t.Helper()
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Result
	}
	held := map[string][]byte{}
	for _, key := range late {
		held[key] = p["s3"].Bytes(key)
		p["s3"].Remove(key)
	}
	for range 2 {
		if r := step(); r.Verdict == audit.Complete {
			t.Errorf("%+v", r)
		}
	}
	for key, b := range held {
		p["s3"].Set(key, b)
	}
	for range 4 {
		wants(t, step(), audit.Damaged, codes...)
		time.Sleep(11 * time.Minute) // bad answers are asked for again
	}
	audit.FullAudit(t.Context(), w)()
	for range 4 {
		wants(t, step(), audit.Damaged, codes...)
		time.Sleep(11 * time.Minute)
	}
}

// TestContestedDuplicates: of several lines that name an object, each states its size, and one cannot excuse its absence.
func TestContestedDuplicates(t *testing.T) {
	build := func(related bool, change func(at *shiptest.MemoryDestination, s *ship.SegmentLine)) places {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(3, nil).by("a").whole(30, nil).add(0, final)
		first := newChain(t, p, "s3", nil).add(3, nil)
		second := first.branch(2, "a", 3, 20)
		if related {
			first, second = second, first
		}
		honest := func(m *ship.Manifest) { m.Segments[0].Receipt.Method = "read-back" }
		first.by("a").whole(30, honest).add(0, final)
		second.by("a").whole(30, func(m *ship.Manifest) {
			honest(m)
			change(p["s3"], &m.Segments[0])
		}).add(0, final)
		return p
	}
	for _, related := range []bool{false, true} {
		p := build(related, func(_ *shiptest.MemoryDestination, s *ship.SegmentLine) {
			s.Size++
			s.Receipt.Size++
		})
		r, err := p.auditWith(t, sumless{p["s3"]})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, r, audit.Damaged, audit.LineWrong, audit.ObjectAltered, audit.RecordsDoubled)

		p = build(related, func(at *shiptest.MemoryDestination, s *ship.SegmentLine) {
			at.Remove(s.Key)
			s.MinTime, s.MaxTime = testTime.Add(-48*time.Hour), testTime.Add(-48*time.Hour)
		})
		r, err = p.auditWith(t, sumless{p["s3"]}, func(o *audit.Options) { o.Since = testTime.Add(-24 * time.Hour) })
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{audit.LineWrong, audit.ObjectMissing} {
			if f := finding(t, r, code, "s3"); f.Verdict != audit.Damaged || f.First != 21 {
				t.Errorf("%+v", f)
			}
		}
	}
}

// TestRepeatedObjectCost: a sender that calls a place by another name states its objects again with other receipts. A Watcher asks for
// them no more often than for others, and what contradicts a line is not asked for in each increment either.
func TestRepeatedObjectCost(t *testing.T) {
	repeated := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		c := newChain(t, repeated, name, nil).add(2, nil).by("a").whole(30, nil).add(0, final)
		if name == "s3" {
			c.dest = "colo"
			c.branch(2, "a", 2, 20).whole(30, func(m *ship.Manifest) {
				m.Segments[0].Receipt.Time, m.Segments[0].Receipt.Checksum = testTime.Add(time.Hour), "sha256:"+m.Segments[0].SHA256
			}).add(0, final)
		}
	}
	for _, c := range []struct {
		p       places
		verdict audit.Verdict
	}{
		{repeated, audit.Complete},
		{contest(t, "the same records, and the hash of other bytes", false).places, audit.Damaged},
	} {
		opened := 0
		d := shiptest.Faulty(c.p["s3"], func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Open && isData.MatchString(c.Key) {
				opened++
			}
			return shiptest.Fault{}
		})
		o := &audit.WatchOptions{Options: audit.Options{Deep: true, Workers: 1, Places: []audit.Place{{Name: "idc", Destination: c.p["idc"]}, {Name: "s3", Destination: d}}}}
		w, err := audit.NewWatcher(o)
		if err != nil {
			t.Fatal(err)
		}
		before := 0
		for i := range 4 {
			s, err := w.Step(t.Context())
			if err != nil || s.Result.Verdict != c.verdict {
				t.Fatalf("%+v, %v", s, err)
			}
			if i == 0 {
				before = opened
			}
		}
		if opened != before {
			t.Errorf("%s: %d objects were read at first, and %d later", c.verdict, before, opened-before)
		}
	}
}

// TestRewrittenAlike: two lines in different formats state the same records, and a Watcher has compared their objects. If one of them is
// written again about another object of the same size, that comparison proves nothing.
func TestRewrittenAlike(t *testing.T) {
	build := func(data string) places {
		p := newPlaces()
		for _, name := range []string{"idc", "s3"} {
			c := newChain(t, p, name, nil).by("x")
			if name == "s3" {
				c.format, c.data = format.Lines, data
			}
			c.whole(10, nil).add(0, final)
			c.branch(1, "b", 1, 10).whole(20, nil).add(0, final)
		}
		return p
	}
	p, q := build("x"), build("z")
	w := p.watch(t)
	step := func() *audit.Result {
		t.Helper()
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Result
	}
	wants(t, step(), audit.Complete)
	for _, key := range p["s3"].Keys() {
		if isManifest.MatchString(key) {
			p["s3"].Remove(key)
		}
	}
	step()
	for _, key := range q["s3"].Keys() {
		if isData.MatchString(key) && len(p["s3"].Bytes(key)) != len(q["s3"].Bytes(key)) {
			t.Fatalf("%s has another size", key)
		}
		p["s3"].Set(key, q["s3"].Bytes(key))
	}
	full := p.audit(t)
	if full.Verdict == audit.Complete {
		t.Fatalf("%+v", full)
	}
	if got, want := essence(step()), essence(full); !slices.Equal(got, want) {
		t.Errorf("the Watcher says %q, a full audit %q", got, want)
	}
}
