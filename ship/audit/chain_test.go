package audit_test

import (
	"bytes"
	"fmt"
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

// chain writes manifests and objects by hand, for states that a shipper takes long to reach.
type chain struct {
	t       *testing.T
	at      *shiptest.MemoryDestination
	dest    string
	spool   string
	format  string // default NDJSON
	data    string // of each record
	shared  uint64 // but of those up to this one
	epoch   uint32
	number  uint64
	hash    [32]byte
	segment uint64
	last    uint64
	clock   time.Time // default testTime
}

// named is the spool that the chain's objects are named after: that of the first of its copies.
func (c *chain) named() string {
	if c.spool == "" || object.Related(c.spool, testSpool) {
		return testSpool
	}
	return c.spool
}

// now is the time at which the chain's sender writes.
func (c *chain) now() time.Time {
	if c.clock.IsZero() {
		return testTime
	}
	return c.clock
}

var (
	testSpool = strings.Repeat("7", 26)
	testTime  = time.Date(2026, 11, 22, 8, 0, 0, 5, time.UTC)
)

// newChain begins a chain with its birth manifest.
func newChain(t *testing.T, p places, name string, change func(*ship.Manifest)) *chain {
	c := &chain{t: t, at: p[name], dest: name, spool: testSpool, data: "x", epoch: 1}
	c.add(0, change)
	return c
}

// add writes a manifest of n segments of ten records each. Every third segment has a loss and no records.
func (c *chain) add(n int, change func(*ship.Manifest)) *chain {
	c.t.Helper()
	m := &ship.Manifest{Header: ship.ManifestHeader{
		Class: "vpn", Spool: c.spool, Epoch: c.epoch, Number: c.number, Prev: fmt.Sprintf("%x", c.hash), PrevLast: c.last,
		Instance: "host", Destination: c.dest, Time: c.now(),
	}}
	for range n {
		if c.segment++; c.segment%3 == 0 {
			var lost segment.Losses
			lost[segment.Reset] = segment.Loss{Records: c.segment, Bytes: 9}
			m.Losses = append(m.Losses, ship.LossLine{Segment: c.segment, After: c.last, Lost: lost})
			continue
		}
		m.Segments = append(m.Segments, c.put(c.segment, c.last+1, c.last+10))
		c.last += 10
	}
	m.Footer.Segment, m.Footer.Last = c.segment, c.last
	if change != nil {
		change(m)
	}
	b, err := m.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	c.at.Set(object.ManifestKey("vpn", c.spool, m.Header.Epoch, m.Header.Number), b)
	c.epoch, c.number, c.hash, c.segment, c.last = m.Header.Epoch, m.Header.Number+1, m.Hash, m.Footer.Segment, m.Footer.Last
	return c
}

// next begins an epoch.
func (c *chain) next(epoch uint32, change func(*ship.Manifest)) *chain {
	c.t.Helper()
	c.epoch, c.number = epoch, 0
	return c.add(0, change)
}

// raw returns the encoded records of a chain's owner.
func (c *chain) raw(first, last uint64) []byte {
	var raw bytes.Buffer
	for seq := first; seq <= last; seq++ {
		data := c.data
		if seq <= c.shared {
			data = "x"
		}
		if c.format == format.Lines {
			fmt.Fprintln(&raw, data)
			continue
		}
		fmt.Fprintf(&raw, `{"seq":%d,"ts":"%s","src":"","data":"%s","spool":"%s"}`+"\n", seq, c.now().Format("2006-01-02T15:04:05.000000000Z"), data, c.named())
	}
	return raw.Bytes()
}

// put stores an object of one-byte records. A key that another owner has taken is left to it.
func (c *chain) put(n, first, last uint64) ship.SegmentLine {
	raw := c.raw(first, last)
	sum := fmt.Sprintf("%x", ship.BytesObject("", "", raw).SHA256)
	s := ship.SegmentLine{
		Segment: n, First: first, Last: last, Records: last - first + 1, Bytes: last - first + 1, MinTime: c.now(), MaxTime: c.now(),
		Key:    fmt.Sprintf("%s%s-000001-%016x-%016x.ndjson.gz", object.HourPrefix("vpn", object.HourOf(c.now())), c.named(), first, last),
		Format: format.NDJSON, Codec: "gzip", Level: 1, RawBytes: int64(len(raw)), RawSHA256: sum,
	}
	if c.format == format.Lines {
		s.Format, s.Key = format.Lines, strings.Replace(s.Key, ".ndjson", ".log", 1)
	}
	stored := compressed(c.t, raw, 1)
	if b := c.at.Bytes(s.Key); b != nil && !bytes.Equal(b, stored) {
		name, ext, _ := strings.Cut(s.Key, ".")
		s.Key = name + "." + sum[:16] + "." + ext
	}
	c.at.Set(s.Key, stored)
	o := ship.BytesObject(s.Key, "", stored)
	s.Size, s.SHA256, s.CRC64NVME = o.Size, fmt.Sprintf("%x", o.SHA256), fmt.Sprintf("%016x", o.CRC64NVME)
	s.Receipt = &ship.Receipt{Size: o.Size, Checksum: ship.CRC64Checksum(o.CRC64NVME), Method: "head", Time: testTime}
	return s
}

func compressed(t *testing.T, raw []byte, level int) []byte {
	t.Helper()
	c, err := compress.ByName("gzip")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := c.NewWriter(&b, level)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// head tells another place of the chain's last manifest. more is added to the sequence number.
func (c *chain) head(at *shiptest.MemoryDestination, more uint64, final bool) {
	h := ship.Head{
		Version: ship.HeadVersion, Class: "vpn", Spool: c.spool, Epoch: c.epoch, Destination: c.dest, Number: c.number - 1,
		Hash: fmt.Sprintf("%x", c.hash), Last: c.last + more, Final: final, Time: testTime,
	}
	b, err := h.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	at.Set(object.HeadKey("vpn", c.spool, c.epoch, c.dest, c.number-1), b)
}

func final(m *ship.Manifest) { m.Footer.Final = true }

func closedBy(epoch uint32) func(*ship.Manifest) {
	return func(m *ship.Manifest) { m.Footer.ClosedBy = &ship.Owner{Instance: "other", Epoch: epoch} }
}

// joined makes a manifest the first of those that a destination is owed, from segment n + 1 on.
func joined(n, first uint64) func(*ship.Manifest) {
	return func(m *ship.Manifest) {
		m.Header.PrevLast, m.Header.Joined = first-1, first
		m.Footer.Segment, m.Footer.Last = n, first-1
	}
}

// TestChains builds two chains of one spool and audits them, shallow and deep.
func TestChains(t *testing.T) {
	none := func(m *ship.Manifest) {}
	for _, c := range []struct {
		what    string
		build   func(t *testing.T, p places)
		verdict audit.Verdict
		codes   []string
	}{
		{"the same", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(4, nil).add(2, nil).add(0, final)
			newChain(t, p, "idc", none).add(1, nil).add(5, nil).add(0, final)
		}, audit.Complete, nil},
		{"other epochs", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(4, closedBy(2)).next(2, nil).add(2, nil).next(3, nil).add(0, final)
			newChain(t, p, "idc", none).add(1, closedBy(2)).next(3, nil).add(5, nil).add(0, final)
		}, audit.Complete, nil},
		{"a destination that joined late", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
			newChain(t, p, "idc", joined(3, 21)).add(3, nil).add(0, final)
		}, audit.Complete, nil},
		{"a destination that was given up and taken back", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(9, nil).add(0, final)
			newChain(t, p, "idc", none).add(2, nil).next(2, joined(6, 41)).add(3, nil).add(0, final)
		}, audit.Complete, nil},
		{"a hole that nothing explains", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
			c := newChain(t, p, "idc", none).add(2, nil)
			c.last, c.segment = 30, 4
			c.add(2, nil).add(0, final)
		}, audit.Damaged, []string{audit.SequenceBroken}},
		{"a chain that begins late for no reason", func(t *testing.T, p places) {
			c := &chain{t: t, at: p["idc"], dest: "idc", spool: testSpool, data: "x", epoch: 1, last: 20, segment: 3}
			c.add(3, nil).add(0, final)
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
		}, audit.Damaged, []string{audit.SequenceBroken}},
		{"an epoch whose beginning is gone", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
			newChain(t, p, "idc", none).add(3, closedBy(2)).next(2, nil).add(3, nil).add(0, final)
			p["idc"].Remove(object.ManifestKey("vpn", testSpool, 1, 0))
			p["idc"].Remove(object.ManifestKey("vpn", testSpool, 1, 1))
		}, audit.Damaged, []string{audit.ManifestMissing, audit.Uncovered}},
		{"an epoch that names none before it", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
			c := newChain(t, p, "idc", none).add(3, nil)
			c.hash = [32]byte{}
			c.next(2, nil).add(3, nil).add(0, final)
		}, audit.Damaged, []string{audit.ChainBroken}},
		{"another name for the place", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
			c := newChain(t, p, "idc", none).add(3, nil)
			c.hash, c.dest = [32]byte{}, "colo"
			c.next(2, joined(3, 21)).add(3, nil).add(0, final)
		}, audit.Damaged, []string{audit.ChainBroken}},
		{"another name for the place, and a hole", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
			c := newChain(t, p, "idc", none).add(3, nil)
			c.hash, c.dest, c.last, c.segment = [32]byte{}, "colo", 30, 4
			c.next(2, nil).add(2, nil).add(0, final)
		}, audit.Damaged, []string{audit.ChainBroken, audit.SequenceBroken}},
		{"another name for the place, and records that are stated again", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(6, nil).add(0, final)
			c := newChain(t, p, "idc", none).add(3, nil)
			c.hash, c.dest, c.last, c.segment = [32]byte{}, "colo", 10, 1
			c.next(2, joined(1, 11)).add(5, nil).add(0, final)
		}, audit.Damaged, []string{audit.ChainBroken}},
		{"segments that are stated twice", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(2, nil).add(0, final)
			c := newChain(t, p, "idc", none).add(2, nil)
			c.segment, c.last = 0, 0
			c.add(2, nil).add(0, final)
		}, audit.Damaged, []string{audit.SequenceBroken}},
		{"segments that are renumbered", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(5, nil).add(0, final)
			c := newChain(t, p, "idc", none).add(2, nil)
			c.segment = 0
			c.add(2, nil).add(0, final)
		}, audit.Damaged, []string{audit.LineWrong, audit.ObjectUnknown, audit.FinalWrong}},
		{"heads of a chain that was handed over", func(t *testing.T, p places) {
			c := newChain(t, p, "s3", none).add(4, closedBy(2))
			c.head(p["idc"], 0, true)
			c.next(2, nil).add(0, final).head(p["idc"], 0, true)
			c = newChain(t, p, "idc", none).add(4, nil)
			c.head(p["s3"], 0, false)
			c.add(0, final).head(p["s3"], 0, true)
		}, audit.Complete, nil},
		{"a head that states another end", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(4, nil).add(0, final).head(p["idc"], 7, true)
			newChain(t, p, "idc", none).add(4, nil).add(0, final)
		}, audit.Damaged, []string{audit.HeadWrong}},
		{"a head of what was cut off, of records and not", func(t *testing.T, p places) {
			c := newChain(t, p, "s3", none).add(4, nil)
			c.add(0, final).head(p["idc"], 0, true)
			p["s3"].Remove(object.ManifestKey("vpn", testSpool, 1, 2))
			newChain(t, p, "idc", none).add(4, nil).add(0, final)
		}, audit.Damaged, []string{audit.ChainCut, audit.Open}},
		{"a take-over that has not begun", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(3, closedBy(2))
			newChain(t, p, "idc", none).add(3, closedBy(2))
		}, audit.Owed, []string{audit.Open}},
		{"more behind the end of an epoch", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(3, nil).add(0, final)
			newChain(t, p, "idc", none).add(2, final).add(1, nil).add(0, final)
		}, audit.Damaged, []string{audit.AfterEnd}},
		{"an epoch before the one that took over", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(3, nil).add(0, final)
			newChain(t, p, "idc", none).add(2, closedBy(3)).next(2, nil).add(1, nil).add(0, final)
		}, audit.Damaged, []string{audit.AfterEnd}},
		{"a segment that was damaged before one of the two had it", func(t *testing.T, p places) {
			gap := func(m *ship.Manifest) {
				s := &m.Segments[1]
				p["idc"].Remove(s.Key)
				*s = ship.SegmentLine{Segment: s.Segment, First: s.First, Last: s.Last, Gaps: []segment.Range{{First: s.First, Last: s.Last}}}
			}
			newChain(t, p, "s3", none).add(3, nil).add(0, final)
			newChain(t, p, "idc", none).add(3, gap).add(0, final)
		}, audit.Damaged, []string{audit.RecordsDamaged}},
		{"a segment that was damaged before either of the two had it", func(t *testing.T, p places) {
			for _, at := range []string{"s3", "idc"} {
				newChain(t, p, at, none).add(3, func(m *ship.Manifest) {
					s := &m.Segments[1]
					p[at].Remove(s.Key)
					*s = ship.SegmentLine{Segment: s.Segment, First: s.First, Last: s.Last, Gaps: []segment.Range{{First: s.First, Last: s.Last}}}
				}).add(0, final)
			}
		}, audit.Damaged, []string{audit.RecordsDamaged}},
		{"a loss that one does not state", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(4, nil).add(0, final)
			newChain(t, p, "idc", none).add(4, func(m *ship.Manifest) { m.Losses = nil }).add(0, final)
		}, audit.Damaged, []string{audit.PlacesDiffer}},
		{"a loss at the end that one does not have yet", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(3, nil)
			newChain(t, p, "idc", none).add(2, nil)
		}, audit.Owed, []string{audit.Open, audit.Behind}},
		{"another compression of the same records", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(2, nil).add(0, final)
			newChain(t, p, "idc", none).add(2, again(t, p, func(raw []byte) []byte { return compressed(t, raw, 9) })).add(0, final)
		}, audit.Complete, nil},
		{"another compression of other records", func(t *testing.T, p places) {
			newChain(t, p, "s3", none).add(2, nil).add(0, final)
			newChain(t, p, "idc", none).add(2, again(t, p, func(raw []byte) []byte {
				return compressed(t, bytes.Replace(raw, []byte(`"x"`), []byte(`"y"`), 1), 1)
			})).add(0, final)
		}, audit.Damaged, []string{audit.ObjectAltered}},
		{"a manifest far ahead of all others", func(t *testing.T, p places) {
			newChain(t, p, "s3", none)
			p["s3"].Set(object.ManifestKey("vpn", testSpool, 1, 1<<39), []byte("{}"))
			newChain(t, p, "idc", none)
		}, audit.Damaged, []string{audit.ManifestMissing, audit.ManifestDamaged, audit.Open}},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := newPlaces()
			c.build(t, p)
			wants(t, p.audit(t), c.verdict, c.codes...)
			wants(t, p.audit(t, deep), c.verdict, c.codes...)
		})
	}
}

// TestOtherSpool: a line was forged together with all its hashes, and its records say that another spool kept them. Only
// reading the records shows it.
func TestOtherSpool(t *testing.T) {
	p := newPlaces()
	for at, place := range p {
		newChain(t, p, at, func(*ship.Manifest) {}).add(2, func(m *ship.Manifest) {
			s := &m.Segments[0]
			raw := bytes.ReplaceAll((&chain{data: "x"}).raw(s.First, s.Last), []byte("7777"), []byte("7778"))
			stored := compressed(t, raw, 1)
			place.Set(s.Key, stored)
			o := ship.BytesObject(s.Key, "", stored)
			s.RawSHA256, s.SHA256 = fmt.Sprintf("%x", ship.BytesObject("", "", raw).SHA256), fmt.Sprintf("%x", o.SHA256)
			s.Size, s.CRC64NVME = o.Size, fmt.Sprintf("%016x", o.CRC64NVME)
			s.Receipt = &ship.Receipt{Size: o.Size, Checksum: ship.CRC64Checksum(o.CRC64NVME), Method: "head", Time: testTime}
		}).add(0, final)
	}
	wants(t, p.audit(t), audit.Complete)
	r := p.audit(t, deep)
	wants(t, r, audit.Damaged, audit.ObjectAltered)
	if f := r.Findings[0]; !strings.Contains(f.Detail, "they are of spool") {
		t.Errorf("%+v", f)
	}
}

// TestKeyOfOtherSpool: an object under another spool's name, and read deeply, whose records say so too.
func TestKeyOfOtherSpool(t *testing.T) {
	p := newPlaces()
	none := func(*ship.Manifest) {}
	newChain(t, p, "s3", none).add(2, nil).add(0, final)
	newChain(t, p, "idc", none).add(2, func(m *ship.Manifest) {
		key := strings.Replace(m.Segments[0].Key, "7777", "7778", 1)
		p["idc"].Set(key, p["idc"].Bytes(m.Segments[0].Key))
		m.Segments[0].Key = key
	}).add(0, final)
	wants(t, p.audit(t), audit.Damaged, audit.LineWrong, audit.PlacesDiffer, audit.ObjectUnknown, audit.ChainMissing)
	wants(t, p.audit(t, deep), audit.Damaged, audit.LineWrong, audit.PlacesDiffer, audit.ObjectAltered, audit.ObjectUnknown)
}

// again stores the first segment's object again, as change makes it of the uncompressed content, with a receipt that fits.
func again(t *testing.T, p places, change func(raw []byte) []byte) func(*ship.Manifest) {
	return func(m *ship.Manifest) {
		s := &m.Segments[0]
		c, err := compress.ByName(s.Codec)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.NewReader(bytes.NewReader(p["idc"].Bytes(s.Key)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var raw bytes.Buffer
		if _, err := raw.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		stored := change(raw.Bytes())
		p["idc"].Set(s.Key, stored)
		o := ship.BytesObject(s.Key, "", stored)
		s.Receipt.Size, s.Receipt.Checksum = o.Size, ship.CRC64Checksum(o.CRC64NVME)
	}
}
