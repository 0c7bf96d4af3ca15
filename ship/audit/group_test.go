package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// relatedID is an id of a copy of the test spool.
func relatedID(n int) string { return testSpool[:10] + fmt.Sprintf("%016d", n) }

// by continues a chain as the owner of another copy, which has records of its own.
func (c *chain) by(data string) *chain {
	c.data = data
	return c
}

// branch begins a chain under a related id where this one was left: after record last of segment n.
func (c *chain) branch(id int, data string, n, last uint64) *chain {
	c.t.Helper()
	b := &chain{t: c.t, at: c.at, dest: c.dest, spool: relatedID(id), format: c.format, data: data, shared: c.shared, epoch: 1, segment: n, last: last}
	return b.add(0, func(m *ship.Manifest) { m.Header.Joined = last + 1 })
}

// rest adds the rest of the segment that begins at first, of which the chain's place has the records up to the chain's end.
func (c *chain) rest(first, last uint64, change func(*ship.Manifest)) *chain {
	c.t.Helper()
	return c.add(0, func(m *ship.Manifest) {
		c.segment++
		whole := ship.BytesObject("", "", c.raw(first, last))
		s := ship.SegmentLine{Segment: c.segment, First: c.last + 1, Last: last}
		if last > c.last {
			s = c.put(c.segment, c.last+1, last)
		}
		s.Whole = &ship.Whole{First: first, RawSHA256: fmt.Sprintf("%x", whole.SHA256)}
		m.Segments = append(m.Segments, s)
		m.Footer.Segment, m.Footer.Last = c.segment, last
		if change != nil {
			change(m)
		}
	})
}

// segment adds one whole segment.
func (c *chain) whole(last uint64, change func(*ship.Manifest)) *chain {
	c.t.Helper()
	return c.add(0, func(m *ship.Manifest) {
		c.segment++
		m.Segments = append(m.Segments, c.put(c.segment, c.last+1, last))
		m.Footer.Segment, m.Footer.Last = c.segment, last
		if change != nil {
			change(m)
		}
	})
}

// lost states a loss of the segment that was added last.
func lost(n uint64) func(*ship.Manifest) {
	return func(m *ship.Manifest) {
		var l segment.Losses
		l[segment.Reset] = segment.Loss{Records: n, Bytes: 9}
		m.Losses = append(m.Losses, ship.LossLine{Segment: m.Footer.Segment, After: m.Footer.Last, Lost: l})
	}
}

// copies is two places at which the chain of one id was won by the owner of another copy each. Each copy has three records of
// segment 4 in common with the other.
type copies struct {
	places
	// The chains by place and owner.
	idcA, idcB, s3A, s3B *chain
}

func mixed(t *testing.T) *copies {
	x := &copies{places: newPlaces()}
	x.idcA = newChain(t, x.places, "idc", nil).add(3, nil).by("a").whole(30, lost(1)).whole(40, nil)
	x.s3B = newChain(t, x.places, "s3", nil).add(2, nil).add(1, nil).by("b").whole(28, nil).whole(38, lost(2))
	x.idcB = x.idcA.branch(1, "b", 3, 20).whole(28, nil).whole(38, lost(2))
	x.s3A = x.s3B.branch(2, "a", 3, 20).whole(30, lost(1)).whole(40, nil)
	return x
}

func (x *copies) all() []*chain { return []*chain{x.idcA, x.idcB, x.s3A, x.s3B} }

func (x *copies) finalize() *copies {
	for _, c := range x.all() {
		c.add(0, final)
	}
	return x
}

// both audits shallow and deep.
func both(t *testing.T, p places, verdict audit.Verdict, codes ...string) (r *audit.Result) {
	t.Helper()
	wants(t, p.audit(t), verdict, codes...)
	r = p.audit(t, deep)
	wants(t, r, verdict, codes...)
	return r
}

// finding returns the one finding of a code at a place.
func finding(t *testing.T, r *audit.Result, code, place string) audit.Finding {
	t.Helper()
	var f []audit.Finding
	for _, x := range r.Findings {
		if x.Code == code && x.Place == place {
			f = append(f, x)
		}
	}
	if len(f) != 1 {
		t.Fatalf("%d findings %s at %s: %+v", len(f), code, place, r.Findings)
	}
	return f[0]
}

// TestMixedWinners: the chain of one id has the records of one copy at one place, and those of another copy at the other place. Each
// record is at each place once, so nothing is wrong.
func TestMixedWinners(t *testing.T) {
	x := mixed(t).finalize()
	r := both(t, x.places, audit.Complete)
	for _, c := range r.Chains {
		if c.NotOwed != 0 {
			t.Errorf("%s at %s: %d records are called not owed", c.Spool, c.Place, c.NotOwed)
		}
	}
	for _, name := range []string{"idc", "s3"} {
		both(t, places{name: x.places[name]}, audit.Complete)
	}
}

// TestThreeCopies: each of three owners has won another place.
func TestThreeCopies(t *testing.T) {
	p := places{"idc": shiptest.Memory(), "s3": shiptest.Memory(), "colo": shiptest.Memory()}
	owners := []string{"a", "b", "c"}
	for i, name := range []string{"idc", "s3", "colo"} {
		c := newChain(t, p, name, nil).add(2, nil).by(owners[i]).whole(30, lost(uint64(i))).add(0, final)
		for j, owner := range owners {
			if j != i {
				c.branch(10*i+j, owner, 2, 20).whole(30, lost(uint64(j))).add(0, final)
			}
		}
	}
	both(t, p, audit.Complete)
	for _, k := range p["colo"].Keys() {
		if strings.HasPrefix(k, "_manifest/vpn/"+relatedID(21)) {
			p["colo"].Remove(k)
		}
	}
	r := p.audit(t)
	wants(t, r, audit.Owed, audit.Behind, audit.Uncovered)
	if f := finding(t, r, audit.Behind, "colo"); f.First != 21 || f.Last != 30 || f.Spool != relatedID(1) || !strings.HasPrefix(f.Other, "idc: ") {
		t.Errorf("%+v", f)
	}
}

// TestGroupMissing: what one place has of one copy and another has not is owed there, with its range, and the rest is right.
func TestGroupMissing(t *testing.T) {
	x := mixed(t)
	x.s3A.at.Remove(object.ManifestKey("vpn", relatedID(2), 1, 2)) // records 31 to 40
	x.s3A.number, x.s3A.hash, x.s3A.segment, x.s3A.last = 2, x.s3A.read(object.ManifestKey("vpn", relatedID(2), 1, 1)).Hash, 4, 30
	r := both(t, x.finalize().places, audit.Owed, audit.Behind, audit.Uncovered)
	f := finding(t, r, audit.Behind, "s3")
	if f.First != 31 || f.Last != 40 || f.Spool != testSpool || f.Other != "idc: "+object.ManifestKey("vpn", testSpool, 1, 3) {
		t.Errorf("%+v", f)
	}

	// A loss alone.
	x = mixed(t)
	key := object.ManifestKey("vpn", relatedID(1), 1, 2)
	m := x.idcB.read(key)
	m.Losses = nil
	m.Footer.Final = true
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	x.idcB.at.Set(key, b)
	for _, c := range []*chain{x.idcA, x.s3A, x.s3B} {
		c.add(0, final)
	}
	r = both(t, x.places, audit.Owed, audit.Behind)
	if f := finding(t, r, audit.Behind, "idc"); f.Spool != testSpool || !strings.HasPrefix(f.Detail, "s3 has 0 records, 0 bytes and 1 loss lines") {
		t.Errorf("%+v", f)
	}
}

// TestGroupDoubled: two chains of a place have the same records, in two objects.
func TestGroupDoubled(t *testing.T) {
	x := mixed(t)
	x.s3B.branch(3, "a", 3, 20).whole(30, func(m *ship.Manifest) { copyObject(x.s3B.at, &m.Segments[0]) }).add(0, final)
	r := both(t, x.finalize().places, audit.Damaged, audit.RecordsDoubled)
	if f := finding(t, r, audit.RecordsDoubled, "s3"); f.First != 21 || f.Last != 30 || !strings.Contains(f.Key+f.Other, relatedID(2)) || !strings.Contains(f.Key+f.Other, relatedID(3)) {
		t.Errorf("%+v", f)
	}
	// And the rest of what is there as a whole.
	x = withRests(t)
	x.idcA.branch(3, "a", 2, 23).by("a").rest(21, 30, nil).add(0, final)
	both(t, x.finalize().places, audit.Damaged, audit.RecordsDoubled)
}

// TestGroupDoubledInOtherFormat: the hashes of the two objects differ, because the owners encode the records differently. If one of the
// formats shows only payloads, those of two owners' records may be equal.
func TestGroupDoubledInOtherFormat(t *testing.T) {
	ndjson, err := format.ByName(format.NDJSON)
	if err != nil {
		t.Fatal(err)
	}
	titled := *ndjson
	titled.Name, titled.Ext = "titled", ".titled"
	titled.Read = func(r io.Reader) (format.Reader, error) {
		b := bufio.NewReader(r)
		if _, err := b.ReadString('\n'); err != nil {
			return nil, err
		}
		return ndjson.Read(b)
	}
	own := func(o *audit.Options) { o.Extra = format.Extra{Formats: []*format.Format{&titled}} }
	title := func(c *chain) func(m *ship.Manifest) {
		return func(m *ship.Manifest) {
			s := &m.Segments[0]
			raw := append([]byte("title\n"), c.raw(s.First, s.Last)...)
			stored := compressed(t, raw, 1)
			o := ship.BytesObject("", "", stored)
			s.Key, s.Format = strings.Replace(s.Key, ".ndjson", ".titled", 1), titled.Name
			s.RawBytes, s.RawSHA256 = int64(len(raw)), fmt.Sprintf("%x", ship.BytesObject("", "", raw).SHA256)
			s.Size, s.SHA256, s.CRC64NVME = o.Size, fmt.Sprintf("%x", o.SHA256), fmt.Sprintf("%016x", o.CRC64NVME)
			s.Receipt.Size, s.Receipt.Checksum = o.Size, ship.CRC64Checksum(o.CRC64NVME)
			c.at.Set(s.Key, stored)
		}
	}
	x := mixed(t)
	other := x.s3B.branch(3, "a", 3, 20)
	other.whole(30, title(other)).add(0, final)
	p := x.finalize().places
	for _, options := range [][]func(*audit.Options){{own}, {own, deep}} {
		r := p.audit(t, options...)
		wants(t, r, audit.Damaged, audit.RecordsDoubled)
		if f := finding(t, r, audit.RecordsDoubled, "s3"); f.First != 21 || f.Last != 30 {
			t.Errorf("%+v", f)
		}
	}
	p = newPlaces()
	for _, name := range []string{"idc", "s3"} {
		c := newChain(t, p, name, nil).add(2, nil)
		lines := c.branch(1, "x", 2, 20)
		lines.format = format.Lines
		c.whole(30, nil).add(0, final)
		lines.whole(30, nil).add(0, final)
	}
	both(t, p, audit.Complete)
}

// TestGroupEqualPayloads: two owners have records with equal payloads, and one of them encodes only these. A place that has the records of
// one owner lacks those of the other.
func TestGroupEqualPayloads(t *testing.T) {
	for i := range 6 {
		lacks, forged := []string{"", "idc", "s3"}[i%3], i >= 3 // a line without an object says that the records are in another one
		p := newPlaces()
		for _, name := range []string{"idc", "s3"} {
			c := newChain(t, p, name, nil).add(2, nil)
			lines := c.branch(1, "x", 2, 20)
			lines.format = format.Lines
			if name != lacks {
				c.whole(30, nil)
			}
			c.add(0, final)
			lines.whole(30, nil).add(0, final)
			if forged && name == lacks {
				c.branch(2, "y", 2, 30).rest(21, 30, nil).add(0, final)
			}
		}
		if lacks == "" {
			both(t, p, audit.Complete)
			continue
		}
		r := both(t, p, audit.Owed, audit.Behind)
		if f := finding(t, r, audit.Behind, lacks); f.First != 21 || f.Last != 30 || f.Spool != testSpool {
			t.Errorf("%+v", f)
		}
	}
}

// TestGroupOpen: the chain of each owner must be final at each place.
func TestGroupOpen(t *testing.T) {
	for i := range 4 {
		x := mixed(t)
		for j, c := range x.all() {
			if j != i {
				c.add(0, final)
			}
		}
		r := both(t, x.places, audit.Owed, audit.Open)
		if f := r.Findings[0]; len(r.Findings) != 1 || f.Place != x.all()[i].dest || f.Spool != x.all()[i].spool {
			t.Errorf("%d: %+v", i, r.Findings)
		}
	}
}

// TestGroupReplay: what one copy owes a place is restored there from another, beside the other copy's objects, and is not owed any
// more once a chain of the group is closed.
func TestGroupReplay(t *testing.T) {
	for what, gone := range map[string]func(x *copies){
		"all of it": func(x *copies) {
			for _, k := range x.places["s3"].Keys() {
				if strings.Contains(k, relatedID(2)) || isData.MatchString(k) && x.holds(k, "a") {
					x.places["s3"].Remove(k)
				}
			}
		},
		"objects": func(x *copies) {
			for _, k := range x.places["s3"].Keys() {
				if isData.MatchString(k) && x.holds(k, "a") {
					x.places["s3"].Remove(k)
				}
			}
		},
	} {
		x := mixed(t).finalize()
		gone(x)
		if r := x.audit(t, deep); r.Verdict == audit.Complete {
			t.Errorf("%s: %+v", what, r)
		}
		o := &audit.ReplayOptions{
			From: audit.Place{Name: "idc", Destination: x.places["idc"]}, To: audit.Place{Name: "s3", Destination: x.places["s3"]},
			Class: "vpn", Spool: testSpool, First: 21, Last: 40,
		}
		for _, n := range []int{2, 0} {
			done, err := audit.Replay(t.Context(), o)
			if err != nil || len(done) != n {
				t.Fatalf("%s: %+v, %v", what, done, err)
			}
		}
		if what == "objects" {
			both(t, x.places, audit.Complete)
			continue
		}
		both(t, x.places, audit.Owed, audit.Behind, audit.Uncovered)
		if _, err := audit.Close(t.Context(), &audit.CloseOptions{
			Places: []audit.Place{o.From, o.To}, Class: "vpn", Spool: testSpool, By: "me", Reason: "gone",
		}); err != nil {
			t.Fatal(err)
		}
		both(t, x.places, audit.Closed)
		x.places["s3"].Remove(done(x.places["s3"]))
		both(t, x.places, audit.Owed, audit.Behind)
	}
}

// done returns the key of an object that Replay has put back.
func done(at *shiptest.MemoryDestination) string {
	for _, k := range at.Keys() {
		if strings.HasPrefix(k, object.RepairPrefix) {
			var r audit.Repair
			if json.Unmarshal(at.Bytes(k), &r) == nil {
				return r.Key
			}
		}
	}
	return ""
}

// holds reports whether an object of s3 has records of an owner.
func (x *copies) holds(key, owner string) bool {
	c, err := compress.ByName("gzip")
	if err != nil {
		return false
	}
	r, err := c.NewReader(bytes.NewReader(x.places["s3"].Bytes(key)))
	if err != nil {
		return false
	}
	defer r.Close()
	var raw bytes.Buffer
	_, err = raw.ReadFrom(r)
	return err == nil && strings.Contains(raw.String(), `"data":"`+owner+`"`)
}

// TestGroupReplayRest: a rest cannot be cut from the whole, and the whole is never put beside a rest.
func TestGroupReplayRest(t *testing.T) {
	x := withRests(t).finalize()
	o := &audit.ReplayOptions{
		From: audit.Place{Name: "idc", Destination: x.places["idc"]}, To: audit.Place{Name: "s3", Destination: x.places["s3"]},
		Class: "vpn", Spool: testSpool, First: 21, Last: 22,
	}
	if done, err := audit.Replay(t.Context(), o); err != nil || len(done) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	x.places["s3"].Remove(x.s3A.read(object.ManifestKey("vpn", relatedID(2), 1, 1)).Segments[0].Key)
	done, err := audit.Replay(t.Context(), o)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "restore it from a version") || len(done) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestGroupClose: one id of a group is closed by itself, and where it has no chain its relatives are named.
func TestGroupClose(t *testing.T) {
	x := mixed(t)
	for _, c := range x.all()[1:] {
		c.add(0, final)
	}
	o := &audit.CloseOptions{Class: "vpn", Spool: testSpool, By: "me", Reason: "gone"}
	for _, name := range []string{"idc", "s3"} {
		o.Places = append(o.Places, audit.Place{Name: name, Destination: x.places[name]})
	}
	both(t, x.places, audit.Owed, audit.Open)
	if _, err := audit.Close(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	both(t, x.places, audit.Closed)
	o.Spool, o.Places = relatedID(1), o.Places[1:]
	if _, err := audit.Close(t.Context(), o); err == nil || !strings.Contains(err.Error(), testSpool+", "+relatedID(2)[:0]) && !strings.Contains(err.Error(), relatedID(2)) {
		t.Errorf("%v", err)
	}
}

// TestForgedRelative: an invented related id hides nothing, whatever its chain says. Where it says nothing, the other chains are
// judged as if it were not there.
func TestForgedRelative(t *testing.T) {
	key := newKey(1)
	signed := func(m *ship.Manifest) {
		if err := m.Sign(key); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what  string
		forge func(x *chain)
		codes []string
	}{
		{"nothing", func(x *chain) { x.add(0, final) }, []string{audit.FinalWrong, audit.ObjectUnknown}},
		{"nothing, and no end", func(x *chain) {}, []string{audit.FinalWrong, audit.Open, audit.ObjectUnknown}},
		{"other records", func(x *chain) { x.by("z").whole(40, nil).add(0, final) }, []string{audit.Behind, audit.Uncovered}},
		{"part of them", func(x *chain) { x.whole(35, nil).add(0, final) }, []string{audit.Behind, audit.Uncovered}},
		{"the rest of a segment", func(x *chain) { x.last = 39; x.rest(31, 40, nil).add(0, final) }, []string{audit.SequenceBroken, audit.Uncovered}},
		{"the line without the object", func(x *chain) {
			x.whole(40, func(m *ship.Manifest) { x.at.Remove(m.Segments[0].Key) }).add(0, final)
		}, []string{audit.ObjectMissing}},
		{"what is there already", func(x *chain) { x.segment, x.last = 3, 20; x.whole(30, nil).add(0, final) }, nil},
	} {
		p := newPlaces()
		for _, name := range []string{"idc", "s3"} {
			x := newChain(t, p, name, signed).add(3, nil).whole(30, nil).whole(40, signed)
			if name == "s3" { // the last segment is cut off, and another end is forged
				p[name].Remove(object.ManifestKey("vpn", testSpool, 1, 3))
				x.number, x.hash = 3, x.read(object.ManifestKey("vpn", testSpool, 1, 2)).Hash
				x.segment, x.last = 4, 30
				x.add(0, final)
				c.forge(x.branch(1, "x", 4, 30))
				continue
			}
			x.add(0, func(m *ship.Manifest) { final(m); signed(m) })
		}
		for _, change := range []func(*audit.Options){func(*audit.Options) {}, deep} {
			r := p.audit(t, change)
			if r.Verdict == audit.Complete || !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.First == 31 && f.Place == "s3" }) {
				t.Errorf("%s: %s, %+v", c.what, r.Verdict, r.Findings)
			}
			for _, code := range c.codes {
				if !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Code == code }) {
					t.Errorf("%s: no %s: %+v", c.what, code, r.Findings)
				}
			}
		}
		r := p.audit(t, func(o *audit.Options) { o.Keys = []ed25519.PublicKey{public(key)} })
		if !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Code == audit.SignatureWrong && f.Spool == relatedID(1) }) {
			t.Errorf("%s: with a key: %+v", c.what, r.Findings)
		}
	}
}

// TestSignedEnd: the owner of a copy that has nothing of its own ends its chain under a related id. If that is signed, what the other
// copy has not delivered yet is owed; if it is not, it might be a forger's, and the end of the first chain is wrong.
func TestSignedEnd(t *testing.T) {
	key := newKey(1)
	for _, sign := range []bool{true, false} {
		end := func(m *ship.Manifest) {
			m.Footer.Final = true
			if err := m.Sign(key); err != nil && sign {
				t.Fatal(err)
			}
		}
		p := newPlaces()
		newChain(t, p, "idc", nil).add(2, nil).add(0, end)
		x := newChain(t, p, "s3", nil).add(2, nil).by("b").whole(30, nil).add(0, end)
		b := x.branch(1, "a", 2, 20)
		change := func(*audit.Options) {}
		if sign {
			b.add(0, end)
			change = func(o *audit.Options) { o.Keys = []ed25519.PublicKey{public(key)} }
			wants(t, p.audit(t, change), audit.Owed, audit.Behind)
		} else {
			b.add(0, final)
			wants(t, p.audit(t, change), audit.Damaged, audit.FinalWrong)
		}
	}
	// The other copy goes on in an epoch of its own.
	p := newPlaces()
	newChain(t, p, "idc", nil).add(2, nil).add(0, final).by("b").next(2, nil).whole(30, nil).add(0, final)
	newChain(t, p, "s3", nil).add(2, nil).by("b").whole(30, nil).add(0, final).branch(1, "a", 2, 20).add(0, final)
	both(t, p, audit.Complete)
}

// TestGroupHour: if a place lacks objects of a copy, their hours stay open, even if other chains have passed them.
func TestGroupHour(t *testing.T) {
	x := mixed(t)
	for _, k := range x.places["s3"].Keys() {
		if strings.Contains(k, relatedID(2)) {
			x.places["s3"].Remove(k)
		}
	}
	x.idcA.add(0, final)
	x.idcB.add(0, final)
	x.s3B.add(0, final)
	hour := func(h int) func(*audit.Options) {
		return func(o *audit.Options) { o.Hour = testTime.Add(time.Duration(h) * time.Hour) }
	}
	wants(t, x.audit(t, hour(-1)), audit.Complete)
	wants(t, x.audit(t, hour(0)), audit.Owed, audit.Behind, audit.Uncovered)
	wants(t, mixed(t).finalize().audit(t, hour(0)), audit.Complete)
}

// TestGroupCheckpoint: an audit that goes on from a checkpoint compares the group as a whole.
func TestGroupCheckpoint(t *testing.T) {
	for _, lacks := range []bool{false, true} {
		x := mixed(t).finalize()
		if lacks {
			for _, k := range x.places["s3"].Keys() {
				if strings.Contains(k, relatedID(2)) {
					x.places["s3"].Remove(k)
				}
			}
		}
		path := filepath.Join(t.TempDir(), "checkpoint")
		ctx, cancel := context.WithCancel(t.Context())
		stopped := shiptest.Faulty(x.places["s3"], func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.List && strings.HasPrefix(c.Key, "class=") {
				cancel() // the chains have been read
			}
			return shiptest.Fault{}
		})
		_, err := audit.Run(ctx, &audit.Options{Checkpoint: path, Deep: true, Places: []audit.Place{
			{Name: "idc", Destination: x.places["idc"]}, {Name: "s3", Destination: stopped},
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
		r := x.audit(t, deep, func(o *audit.Options) { o.Checkpoint = path })
		if lacks {
			wants(t, r, audit.Owed, audit.Behind, audit.Uncovered)
		} else {
			wants(t, r, audit.Complete)
		}
	}
}

// TestManyCopies: the finding about an open chain names only some of the related spools, however many there are.
func TestManyCopies(t *testing.T) {
	p := places{"s3": shiptest.Memory()}
	x := newChain(t, p, "s3", nil).add(2, nil)
	for i := range 20 {
		x.branch(10+i, "x", 2, 20)
	}
	r := p.audit(t)
	wants(t, r, audit.Owed, audit.Open)
	if len(r.Findings) != 21 {
		t.Fatalf("%+v", r.Findings)
	}
	for _, f := range r.Findings {
		_, list, _ := strings.Cut(f.Detail, "as spool ")
		if strings.Count(list, ", ") != 5 || !strings.HasSuffix(list, ", and 15 more") || strings.Contains(list, f.Spool) {
			t.Errorf("%s: %s", f.Spool, f.Detail)
		}
	}
}
