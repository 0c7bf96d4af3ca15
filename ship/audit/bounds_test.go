package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

// endless is a place whose answers do not end: objects and documents go on after their last byte, and are counted.
type endless struct {
	*shiptest.MemoryDestination
	which func(key string) bool
	fill  byte
	read  atomic.Int64
	list  func(prefix string) iter.Seq2[ship.Entry, error]
}

func (e *endless) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := e.MemoryDestination.Open(ctx, key)
	if err != nil || !e.which(key) {
		return body, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(body, &more{e}), body}, nil
}

func (e *endless) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	if e.list != nil {
		return e.list(prefix)
	}
	return e.MemoryDestination.List(ctx, prefix)
}

// more gives bytes until a test would have failed long ago.
type more struct{ e *endless }

func (m *more) Read(p []byte) (int, error) {
	if m.e.read.Add(int64(len(p))) > 1<<30 {
		return 0, errors.New("a gigabyte was read")
	}
	for i := range p {
		p[i] = m.e.fill
	}
	return len(p), nil
}

// TestEndlessBodies: an object or document that does not end where it should is damaged, and little more is read of it
// than was expected.
func TestEndlessBodies(t *testing.T) {
	base := finished(t)
	key := newKey(4)
	running(t, base)
	for _, f := range base.audit(t).Findings {
		if f.Code == audit.Open && f.Class == "vpn" && f.Place == "idc" {
			base.closeSpool(t, f.Class, f.Spool, key, "idc", "s3")
		}
	}
	isNote := func(k string) bool { return strings.HasPrefix(k, object.RepairPrefix) }
	base["s3"].Set(object.RepairPrefix+"vpn/x.json", []byte("{"))
	for what, c := range map[string]struct {
		which func(string) bool
		code  string
		most  int64 // of each document
	}{
		"objects":   {isData.MatchString, audit.ObjectAltered, 1 << 16},
		"manifests": {isManifest.MatchString, audit.ManifestDamaged, 17 << 20},
		"heads":     {isHead.MatchString, audit.HeadWrong, 1 << 18},
		"closings":  {isClosing.MatchString, audit.ClosingWrong, 1 << 18},
		"notes":     {isNote, audit.ObjectUnknown, 1 << 18},
	} {
		for _, fill := range []byte{0, '\n', '{'} {
			var first string
			for _, k := range base["s3"].Keys() {
				if c.which(k) {
					first = k
					break
				}
			}
			d := &endless{MemoryDestination: base["s3"], which: func(k string) bool { return k == first }, fill: fill}
			r, err := audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{{Name: "idc", Destination: base["idc"]}, {Name: "s3", Destination: d}}})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Code == c.code && f.Key == first }) {
				t.Errorf("%s: nothing is said of %s: %+v", what, first, r.Findings)
			}
			if n := d.read.Load(); n == 0 || n > 6*c.most {
				t.Errorf("%s with %q: %d bytes were read", what, fill, n)
			}
		}
	}
}

// TestEndlessUnknown: of an object that no chain names, the listing says how long it is.
func TestEndlessUnknown(t *testing.T) {
	for _, named := range []bool{false, true} {
		p := newPlaces()
		newChain(t, p, "idc", nil).add(1, nil)
		key := newChain(t, p, "s3", nil).put(1, 1, 10).Key
		if !named {
			p["idc"] = shiptest.Memory()
			newChain(t, p, "idc", nil)
		}
		d := &endless{MemoryDestination: p["s3"], which: func(k string) bool { return k == key }}
		r, err := audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{{Name: "idc", Destination: p["idc"]}, {Name: "s3", Destination: d}}})
		if err != nil {
			t.Fatal(err)
		}
		if f := finding(t, r, audit.ObjectAltered, "s3"); f.Key != key || d.read.Load() > 1<<20 {
			t.Errorf("%d bytes were read: %+v", d.read.Load(), f)
		}
	}
}

// TestEndlessReplay: Replay puts no more into a temporary file than the object's line says.
func TestEndlessReplay(t *testing.T) {
	p := newPlaces()
	newChain(t, p, "idc", nil).add(1, nil)
	var key string
	newChain(t, p, "s3", nil).add(1, func(m *ship.Manifest) { key = m.Segments[0].Key })
	p["idc"].Remove(key)
	opened := 0
	d := &endless{MemoryDestination: p["s3"], which: func(k string) bool {
		if k == key {
			opened++
		}
		return opened > 1 // it is read once to be verified, and once to be copied
	}}
	done, err := audit.Replay(t.Context(), &audit.ReplayOptions{
		From: audit.Place{Name: "s3", Destination: d}, To: audit.Place{Name: "idc", Destination: p["idc"]}, Class: "vpn", Spool: testSpool,
	})
	if !errors.Is(err, ship.ErrVerify) || len(done) > 0 || d.read.Load() == 0 || d.read.Load() > 1<<20 {
		t.Errorf("%+v, %v, %d bytes were read", done, err, d.read.Load())
	}
}

// bomb is an object that unpacks to a gigabyte.
func bomb(t *testing.T, head string) []byte {
	t.Helper()
	c, err := compress.ByName("zstd")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := c.NewWriter(&b, 1)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	_, err = io.WriteString(w, head)
	for range 1 << 10 {
		if err == nil {
			_, err = w.Write(zeros)
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBombs: an object of some kilobytes that unpacks to a gigabyte does not fill the disk, whatever its line says.
func TestBombs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var most atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // looks at what is in the temporary directory
		defer close(stopped)
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for {
			files, _ := filepath.Glob(filepath.Join(dir, "*"))
			sum := int64(0)
			for _, f := range files {
				if fi, err := os.Stat(f); err == nil {
					sum += fi.Size()
				}
			}
			most.Store(max(most.Load(), sum))
			select {
			case <-stop:
				return
			case <-look.C:
			}
		}
	}()
	for _, name := range format.Names() {
		for _, named := range []bool{true, false} {
			p := places{"s3": shiptest.Memory()}
			ext := map[string]string{format.NDJSON: ".ndjson", format.Lines: ".log", format.Native: ".seg"}[name] + ".zst"
			b := bomb(t, map[string]string{format.Native: "PNSTKSEG"}[name])
			c := newChain(t, p, "s3", nil)
			key := fmt.Sprintf("class=vpn/dt=2026-11-22/hour=08/%s-000001-%016x-%016x%s", testSpool, 1, 1, ext)
			p["s3"].Set(key, b)
			if named {
				o := ship.BytesObject(key, "", b)
				s := ship.SegmentLine{
					Segment: 1, First: 1, Last: 1, Records: 1, Bytes: 10, MinTime: testTime, MaxTime: testTime, Key: key, Format: name, Codec: "zstd",
					RawBytes: 1 << 30, RawSHA256: strings.Repeat("0", 64), Size: o.Size, SHA256: fmt.Sprintf("%x", o.SHA256), CRC64NVME: fmt.Sprintf("%016x", o.CRC64NVME),
					Receipt: &ship.Receipt{Size: o.Size, Checksum: ship.CRC64Checksum(o.CRC64NVME), Method: "head", Time: testTime},
				}
				c.add(0, func(m *ship.Manifest) {
					m.Segments, m.Footer.Segment, m.Footer.Last = []ship.SegmentLine{s}, 1, 1
				})
			}
			began := time.Now()
			r := p.audit(t, deep)
			f := finding(t, r, audit.ObjectAltered, "s3")
			if f.Key != key || named && !strings.Contains(f.Detail, "take ") {
				t.Errorf("%s: %+v", name, f)
			}
			t.Logf("%s, named %v: %v", name, named, time.Since(began))
		}
	}
	close(stop)
	<-stopped
	if n := most.Load(); n > 64<<20 {
		t.Errorf("%d bytes lay in the temporary directory", n)
	}
}

// TestEndlessLists: a listing that has no end ends the audit, with little in memory.
func TestEndlessLists(t *testing.T) {
	seq := func(key func(i int) string) func(string) iter.Seq2[ship.Entry, error] {
		return func(prefix string) iter.Seq2[ship.Entry, error] {
			return func(yield func(ship.Entry, error) bool) {
				for i := range 1 << 20 {
					if !yield(ship.Entry{Key: key(i), Size: 1}, nil) {
						return
					}
				}
				yield(ship.Entry{}, errors.New("a million entries were read"))
			}
		}
	}
	for what, c := range map[string]struct {
		list func(string) iter.Seq2[ship.Entry, error]
		want string
	}{
		"the same name": {seq(func(int) string { return "_manifest/x" }), "again and again"},
		"long names":    {seq(func(i int) string { return "_manifest/" + strings.Repeat("x", 2000) }), "a name of 2010 bytes"},
		"spools":        {seq(func(i int) string { return fmt.Sprintf("_manifest/vpn/%026d/000001/000000000000.jsonl", i) }), "more than 100 chains"},
		"holes":         {seq(func(i int) string { return fmt.Sprintf("_manifest/vpn/%026d/000001/%012d.jsonl", 1, 2*i) }), "more than 100 chains"},
		"heads":         {seq(func(i int) string { return fmt.Sprintf("_manifest/vpn/%026d/000001/heads/idc-%012d.json", 1, i) }), "more than 100 chains"},
		"closings":      {seq(func(i int) string { return fmt.Sprintf("_manifest/vpn/%026d/closed/%016d.json", 1, i) }), "more than 100 chains"},
	} {
		_, err := audit.Run(t.Context(), func() *audit.Options {
			o := &audit.Options{Places: []audit.Place{{Name: "s3", Destination: &endless{MemoryDestination: shiptest.Memory(), list: c.list}}}}
			audit.KeepLess(o)
			return o
		}())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
