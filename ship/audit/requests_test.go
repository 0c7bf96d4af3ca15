package audit_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// TestBareAsksOnce: how many rests have no beginning does not decide how often their chains are looked for.
func TestBareAsksOnce(t *testing.T) {
	p := places{"s3": shiptest.Memory()}
	x := newChain(t, p, "s3", nil).add(2, nil)
	for i := range 3 {
		x.branch(10+i, "c", 2, 20)
	}
	b := x.branch(1, "b", 2, 20)
	for range 50 {
		b.rest(b.last, b.last+10, nil)
	}
	asked := 0
	d := shiptest.Faulty(p["s3"], func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Stat && isManifest.MatchString(c.Key) || c.Op == shiptest.List && len(c.Key) > len("_manifest/") && strings.HasPrefix(c.Key, "_manifest/") {
			asked++
		}
		return shiptest.Fault{}
	})
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "s3", Destination: d}}, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range r.Findings {
		if f.Code == audit.SequenceBroken {
			n++
		}
	}
	if n != 50 || asked > 6 {
		t.Errorf("%d findings and %d requests", n, asked)
	}
}

// TestManyRelatives: how many related chains somebody adds at one place does not decide how often an object of another place is read.
func TestManyRelatives(t *testing.T) {
	for _, rests := range []bool{false, true} {
		x := withRests(t).finalize()
		right := x.idcA.read(object.ManifestKey("vpn", testSpool, 1, 2)).Segments[0]
		for i := range 200 {
			c := x.s3B.branch(10+i, fmt.Sprintf("%03d", i), 2, 20)
			if c.last = 20; rests {
				c.last = 24
				c.rest(21, 30, func(m *ship.Manifest) { m.Segments[0].Whole.RawSHA256 = right.RawSHA256 })
			} else {
				c.format = format.Lines
				c.whole(30, func(m *ship.Manifest) { m.Segments[0].Bytes *= 3 })
			}
			c.add(0, final)
		}
		for _, k := range x.places["s3"].Keys() {
			if !rests && strings.Contains(k, relatedID(2)) {
				x.places["s3"].Remove(k)
			}
		}
		opened, all := 0, 0
		d := shiptest.Faulty(x.places["idc"], func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Open && isData.MatchString(c.Key) {
				if all++; c.Key == right.Key {
					opened++
				}
			}
			return shiptest.Fault{}
		})
		r, err := audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{{Name: "idc", Destination: d}, {Name: "s3", Destination: x.places["s3"]}}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == audit.Complete || opened > 70 || all > 80 {
			t.Errorf("rests %v, %s: the object was opened %d times, all %d times", rests, r.Verdict, opened, all)
		}
	}
}

// TestLongNameReadOnce: an object whose name promises many records, of which it has one, is not read again and again.
func TestLongNameReadOnce(t *testing.T) {
	p := newPlaces()
	for _, name := range []string{"idc", "s3"} {
		newChain(t, p, name, nil).add(2, nil).add(0, final).branch(1, "b", 2, 20).whole(30, nil).add(0, final)
	}
	c := &chain{t: t, at: p["s3"], data: "x"}
	key := fmt.Sprintf("%s%s-000001-%016x-%016x.ndjson.gz", object.HourPrefix("vpn", object.HourOf(testTime)), testSpool, 1, 1<<28)
	p["s3"].Set(key, compressed(t, c.raw(1, 1), 1))
	opened, others := 0, 0
	d := shiptest.Faulty(p["s3"], func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Open && c.Key == key {
			opened++
		} else if c.Op == shiptest.Open && isData.MatchString(c.Key) {
			others++
		}
		return shiptest.Fault{}
	})
	r, err := p.auditWith(t, d)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ObjectUnknown)
	if opened > 2 || others > 0 {
		t.Errorf("it was opened %d times, and others %d times", opened, others)
	}
}

// TestChainListedOnce: the number of epochs in the names of objects does not decide how often the chain of their spool is listed.
func TestChainListedOnce(t *testing.T) {
	p := places{"s3": shiptest.Memory()}
	newChain(t, p, "s3", nil).add(2, nil).add(0, final)
	folder := object.HourPrefix("vpn", object.HourOf(testTime))
	for epoch := range 50 {
		p["s3"].Set(fmt.Sprintf("%s%s-%06d-%016x-%016x.ndjson.gz", folder, testSpool, 2+epoch, 100, 110), []byte("x"))
	}
	lists := 0
	d := shiptest.Faulty(p["s3"], func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.List && strings.Contains(c.Key, testSpool) {
			lists++
		}
		return shiptest.Fault{}
	})
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "s3", Destination: d}}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ObjectUnknown)
	if len(r.Findings) != 50 || lists > 1 {
		t.Errorf("%d findings and %d listings of the chain", len(r.Findings), lists)
	}
}

// growing is a place where something happens while its objects are listed.
type growing struct {
	*shiptest.MemoryDestination
	after string // this object
	do    func() (more ship.Entry)
}

func (g growing) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		for e, err := range g.MemoryDestination.List(ctx, prefix) {
			if !yield(e, err) {
				return
			}
			if e.Key == g.after && !yield(g.do(), nil) {
				return
			}
		}
	}
}

// TestBegunSinceListed: an epoch that begins after its chain was listed again, because of an object of an earlier epoch, has begun.
func TestBegunSinceListed(t *testing.T) {
	p := places{"s3": shiptest.Memory()}
	newChain(t, p, "s3", nil).add(2, nil).add(0, final)
	late := strings.Repeat("8", 26)
	name := func(hour int32, epoch int) string {
		return fmt.Sprintf("%s%s-%06d-%016x-%016x.ndjson.gz", object.HourPrefix("vpn", hour), late, epoch, 1, 10)
	}
	hour := object.HourOf(testTime)
	p["s3"].Set(name(hour, 1), []byte("x"))
	d := growing{p["s3"], name(hour, 1), func() ship.Entry {
		c := &chain{t: t, at: p["s3"], dest: "s3", spool: late, data: "x", epoch: 2}
		c.add(0, nil)
		return ship.Entry{Key: name(hour+1, 2), Size: 1}
	}}
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Name: "s3", Destination: d}}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Damaged, audit.ChainMissing, audit.Uncovered)
	if f := finding(t, r, audit.Uncovered, "s3"); f.Key != name(hour+1, 2) {
		t.Errorf("%+v", f)
	}
}
