package audit_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// stagedAgain delivers three segments to s3 while idc is down, damages the stage record of the second one, and then delivers to
// idc with other settings.
func stagedAgain(t *testing.T, class, host string, change func(*ship.Options)) places {
	t.Helper()
	p, dir := newPlaces(), filepath.Join(t.TempDir(), "a")
	d := p.destinations()
	d["idc"] = shiptest.Faulty(d["idc"], func(shiptest.Call) shiptest.Fault {
		return shiptest.Fault{Before: func(context.Context) error { return os.ErrDeadlineExceeded }}
	})
	x := send(t, dir, class, "host-a", d, nil)
	x.segments(3)
	x.until("s3")
	x.end()
	records, err := filepath.Glob(filepath.Join(dir, "stage", "*.json"))
	if err != nil || len(records) != 3 {
		t.Fatalf("stage records %q, %v", records, err)
	}
	b, err := os.ReadFile(records[1])
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(records[1], b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	x = send(t, dir, class, host, p.destinations(), change)
	x.flush()
	x.finalize("s3", "idc")
	x.end()
	return p
}

// restaged are the settings with which a segment is staged again.
var restaged = map[string]func(*ship.Options){
	"another codec":  func(o *ship.Options) { o.Codec = "gzip" },
	"another level":  func(o *ship.Options) { o.Codec, o.Level = "zstd", 9 },
	"another format": func(o *ship.Options) { o.Format = format.Lines },
	"native":         func(o *ship.Options) { o.Format, o.Codec = format.Native, "none" },
}

// lineAt returns the line of the segment that was staged again, and its manifest.
func lineAt(t *testing.T, p places, name string) (*ship.Manifest, *ship.SegmentLine, string) {
	t.Helper()
	for _, key := range p[name].Keys() {
		if !isManifest.MatchString(key) {
			continue
		}
		m := (&chain{t: t, at: p[name]}).read(key)
		for i := range m.Segments {
			if m.Segments[i].First == 21 {
				return m, &m.Segments[i], key
			}
		}
	}
	t.Fatalf("%s does not name the segment", name)
	return nil, nil, ""
}

// TestStagedAgain: a stage record is lost after one place has the segment, and the settings have changed since. Both places have every
// record, in different bytes.
func TestStagedAgain(t *testing.T) {
	for what, change := range restaged {
		for _, host := range []string{"host-a", "host-b"} {
			p := stagedAgain(t, "vpn", host, change)
			_, x, _ := lineAt(t, p, "s3")
			_, y, _ := lineAt(t, p, "idc")
			if x.Codec == y.Codec && x.Level == y.Level && x.Format == y.Format || (x.Format == y.Format) != (x.RawSHA256 == y.RawSHA256) {
				t.Errorf("%s: %+v, %+v", what, x, y)
			}
			t.Run(what+", "+host, func(t *testing.T) {
				r := both(t, p, audit.Complete)
				for _, h := range r.Hours {
					if h.Objects > 0 && (h.Verdict != audit.Complete && !h.Hour.Add(time.Hour).After(time.Now()) || h.Records%20 != 0) {
						t.Errorf("%+v", h)
					}
				}
			})
		}
	}
}

// otherBytes replaces the first segment's object by another content, compressed differently, with a line that describes its bytes, and
// changes the line.
func otherBytes(t *testing.T, at *shiptest.MemoryDestination, content func(raw []byte) []byte, change func(*ship.SegmentLine)) func(*ship.Manifest) {
	return func(m *ship.Manifest) {
		s := &m.Segments[0]
		r, err := gzip.NewReader(bytes.NewReader(at.Bytes(s.Key)))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		at.Remove(s.Key)
		raw = content(raw)
		stored := compressed(t, raw, 9)
		s.Level, s.RawBytes, s.RawSHA256 = 9, int64(len(raw)), fmt.Sprintf("%x", ship.BytesObject("", "", raw).SHA256)
		if change != nil {
			change(s)
		}
		o := ship.BytesObject(s.Key, "", stored)
		at.Set(s.Key, stored)
		s.Size, s.SHA256, s.CRC64NVME = o.Size, fmt.Sprintf("%x", o.SHA256), fmt.Sprintf("%016x", o.CRC64NVME)
		s.Receipt = &ship.Receipt{Size: o.Size, Checksum: ship.CRC64Checksum(o.CRC64NVME), Method: "head", Time: testTime}
	}
}

func same(raw []byte) []byte { return raw }

// replaced replaces something in the content.
func replaced(from, to string) func([]byte) []byte {
	return func(raw []byte) []byte { return bytes.Replace(raw, []byte(from), []byte(to), 1) }
}

// payloads makes Lines of ndjson.
func payloads(data string) func([]byte) []byte {
	return func(raw []byte) []byte {
		return []byte(strings.Repeat("x\n", bytes.Count(raw, []byte("\n"))-1) + data + "\n")
	}
}

// asLines makes a line say that its object is in the format Lines.
func asLines(s *ship.SegmentLine) {
	s.Format, s.Key = format.Lines, strings.Replace(s.Key, ".ndjson", ".log", 1)
}

// TestForgedRestaging: whoever may write to one place states that a segment was staged again. That is complete only if its object has the
// records of the other place's, whatever the line says.
func TestForgedRestaging(t *testing.T) {
	var genuine string
	newChain(t, newPlaces(), "s3", nil).add(2, func(m *ship.Manifest) { genuine = m.Segments[0].RawSHA256 })
	differ, altered := []string{audit.PlacesDiffer}, []string{audit.ObjectAltered}
	for _, c := range []struct {
		what        string
		content     func([]byte) []byte
		change      func(*ship.SegmentLine)
		plain, deep []string
		verdict     audit.Verdict // default damaged; otherwise deep is plain
	}{
		{what: "the same content", content: same, verdict: audit.Complete},
		{what: "other records", content: replaced(`"x"`, `"y"`), plain: differ, deep: differ},
		{what: "other records, and the content's hash of the other place", content: replaced(`"x"`, `"y"`), change: func(s *ship.SegmentLine) { s.RawSHA256 = genuine }, plain: differ, deep: altered},
		{what: "an empty object, and the content's hash of the other place", content: func([]byte) []byte { return nil }, change: func(s *ship.SegmentLine) {
			s.RawSHA256, s.RawBytes = genuine, int64(len((&chain{data: "x"}).raw(s.First, s.Last)))
		}, plain: differ, deep: altered},
		{what: "another time", content: same, change: func(s *ship.SegmentLine) { s.MaxTime = s.MaxTime.Add(1) }, plain: differ, deep: append(differ, altered...)},
		{what: "another segment", content: same, change: func(s *ship.SegmentLine) { s.Key = strings.Replace(s.Key, "-000001-", "-000002-", 1) }, plain: append(differ, audit.LineWrong, audit.ObjectUnknown), deep: append(differ, audit.LineWrong, audit.ObjectUnknown)},
		{what: "another codec than it has", content: same, change: func(s *ship.SegmentLine) { s.Codec, s.Key = "zstd", strings.Replace(s.Key, ".gz", ".zst", 1) }, plain: differ, deep: altered},
		{what: "an unknown codec", content: same, change: func(s *ship.SegmentLine) { s.Codec, s.Key = "xz", strings.Replace(s.Key, ".gz", ".xz", 1) }, plain: []string{audit.NotUnderstood}, verdict: audit.Owed},
		{what: "an unknown format", content: same, change: func(s *ship.SegmentLine) { s.Format = "csv" }, plain: []string{audit.NotUnderstood}, verdict: audit.Owed},
		{what: "another format", content: payloads("x"), change: asLines, verdict: audit.Complete},
		{what: "another format, other records", content: payloads("y"), change: asLines, plain: differ, deep: differ},
		{what: "another format, one record more", content: payloads("x\nx"), change: asLines, plain: differ, deep: append(differ, altered...)},
		{what: "another format, one record less", content: func(raw []byte) []byte { return payloads("x")(raw)[2:] }, change: asLines, plain: differ, deep: append(differ, altered...)},
		{what: "another format, and the content's hash of the other place", content: payloads("x"), change: func(s *ship.SegmentLine) {
			asLines(s)
			s.RawSHA256 = genuine
		}, plain: differ, deep: append(differ, altered...)},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := newPlaces()
			newChain(t, p, "s3", nil).add(2, nil).add(0, final)
			newChain(t, p, "idc", nil).add(2, otherBytes(t, p["idc"], c.content, c.change)).add(0, final)
			verdict := cmp.Or(c.verdict, audit.Damaged)
			if c.verdict != "" {
				c.deep = c.plain
			}
			wants(t, p.audit(t), verdict, c.plain...)
			wants(t, p.audit(t, deep), verdict, c.deep...)
		})
	}
}

// TestRestagedCost: without Deep, only the two objects of a pair whose lines differ are read. A Watcher reads them once.
func TestRestagedCost(t *testing.T) {
	for _, other := range []string{"another codec", "another format"} {
		p := stagedAgain(t, "vpn", "host-a", restaged[other])
		var read atomic.Int32
		d := map[string]ship.Destination{}
		for name, at := range p {
			d[name] = shiptest.Faulty(at, func(c shiptest.Call) shiptest.Fault {
				if c.Op == shiptest.Open && isData.MatchString(c.Key) {
					read.Add(1)
				}
				return shiptest.Fault{}
			})
		}
		o := &audit.WatchOptions{}
		o.Places = []audit.Place{{Name: "idc", Destination: d["idc"]}, {Name: "s3", Destination: d["s3"]}}
		most := map[string]int32{"another codec": 2, "another format": 4}[other] // another format: their content, and then record by record
		if r, err := audit.Run(t.Context(), &o.Options); err != nil || r.Verdict != audit.Complete || read.Load() != most {
			t.Errorf("%s: %d objects were read: %+v, %v", other, read.Load(), r, err)
		}
		w, err := audit.NewWatcher(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if s, err := w.Step(t.Context()); err != nil || s.Result.Verdict != audit.Complete {
				t.Fatalf("%s: %+v, %v", other, s, err)
			}
		}
		if read.Load() != 2*most {
			t.Errorf("%s: %d objects were read", other, read.Load())
		}
		// What is remembered of an object ends with the object.
		_, line, _ := lineAt(t, p, "idc")
		content := p["idc"].Bytes(line.Key)
		step := func(verdict audit.Verdict, codes ...string) {
			t.Helper()
			s, err := w.Step(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wants(t, s.Result, verdict, codes...)
		}
		p["idc"].Remove(line.Key)
		step(audit.Damaged, audit.ObjectMissing, audit.PlacesDiffer)
		p["idc"].Set(line.Key, append(content, 0))
		step(audit.Damaged, audit.ObjectAltered, audit.PlacesDiffer)
		p["idc"].Set(line.Key, content)
		step(audit.Complete)
	}
}

// TestRestagedLimits: objects that may have been deleted are not compared, and one that cannot be read proves nothing.
func TestRestagedLimits(t *testing.T) {
	p := stagedAgain(t, "vpn", "host-a", restaged["another format"])
	_, line, _ := lineAt(t, p, "idc")
	broken := places{"idc": p["idc"], "s3": shiptest.Memory()}
	for _, key := range p["s3"].Keys() {
		if !isData.MatchString(key) {
			broken["s3"].Set(key, p["s3"].Bytes(key))
		}
	}
	wants(t, broken.audit(t, func(o *audit.Options) { o.Since = line.MaxTime.Add(time.Hour) }), audit.Complete)
	wants(t, broken.audit(t), audit.Damaged, audit.ObjectMissing, audit.PlacesDiffer)
	o := &audit.Options{Places: []audit.Place{
		{Name: "idc", Destination: shiptest.Faulty(p["idc"], func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Open && c.Key == line.Key {
				return shiptest.FailBefore(errors.New("no"))
			}
			return shiptest.Fault{}
		})},
		{Name: "s3", Destination: p["s3"]},
	}}
	r, err := audit.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r, audit.Owed, audit.Unread)
}

// TestReplayRestaged: a segment that was staged again does not keep the others from being restored. If it is missing itself, the other
// place's bytes are not put in its stead: its line states others.
func TestReplayRestaged(t *testing.T) {
	for what, change := range restaged {
		p := stagedAgain(t, "vpn", "host-a", change)
		spool, objects := longest(p)
		_, line, _ := lineAt(t, p, "idc")
		p["idc"].Remove(objects[2])
		if done, err := replay(p, spool, 0, 0); err != nil || len(done) != 1 || done[0].Key != objects[2] {
			t.Errorf("%s: %+v, %v", what, done, err)
		}
		wants(t, p.audit(t, deep), audit.Complete)
		if _, there, _ := lineAt(t, p, "s3"); there.SHA256 == line.SHA256 {
			continue
		}
		p["idc"].Remove(line.Key)
		done, err := replay(p, spool, 0, 0)
		if !errors.Is(err, fs.ErrNotExist) || len(done) != 0 || p["idc"].Bytes(line.Key) != nil {
			t.Errorf("%s: %+v, %v", what, done, err)
		}
	}
}
