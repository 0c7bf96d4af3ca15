package spool

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if os.Getenv(fatalEnv) != "" {
			fatalChild() // never returns
		}
		child() // never returns
	}
	goleak.VerifyTestMain(m)
}

// disk is a directory to run spools on: in memory with the index's double, or real.
type disk struct {
	fs    vfs.FS
	dir   string
	index index.OpenFunc
}

func memDir() *disk { return &disk{fs: vfs.NewMem(), dir: "/spool", index: new(index.Mem).Open} }

func (d *disk) open(t testing.TB, o Options) *Spool {
	t.Helper()
	s, err := d.tryOpen(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (d *disk) tryOpen(t testing.TB, o Options) (*Spool, error) {
	t.Helper()
	small(&o)
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s, err := open(d.dir, d.fs, d.index, &o)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// small makes unset options small enough for many segments in a short test.
func small(o *Options) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = minSegmentBytes
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = minMemoryBytes
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Instance == "" {
		o.Instance = "here"
	}
}

// testWriter logs to a test as long as that runs.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// batch makes n records whose payloads say which they are.
func batch(from, n, size int) []segment.Record {
	b := make([]segment.Record, n)
	for i := range b {
		b[i] = record(from+i, size)
	}
	return b
}

func record(i, size int) segment.Record {
	data := fmt.Appendf(nil, "record %d ", i)
	for len(data) < size {
		data = append(data, byte('a'+i%26))
	}
	return segment.Record{Time: int64(1e18) + int64(i), Data: data}
}

func mustAppend(t testing.TB, s *Spool, b []segment.Record) uint64 {
	t.Helper()
	last, err := s.Append(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func mustSeal(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func closeSpool(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// lineEncoder writes one line for a record: its number and its payload.
type lineEncoder struct{}

var _ Encoder = lineEncoder{}

func (e lineEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (out object.Encoded, err error) {
	out.Encoding = object.Encoding{Format: "test", Codec: "none"}
	if want != nil {
		out.Encoding = *want
	}
	out.Ext, out.ContentType = ".txt", "text/plain"
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(dst, sum))
	for {
		seq, rec, err := src.Next()
		var d *segment.DamageError
		switch {
		case err == io.EOF:
			if err := w.Flush(); err != nil {
				return out, err
			}
			sum.Sum(out.RawSHA256[:0])
			return out, nil
		case errors.As(err, &d):
			if r, ok := d.Range(); ok {
				out.Gaps = append(out.Gaps, r)
			}
			continue
		case err != nil:
			return out, err
		}
		n, err := fmt.Fprintf(w, "%d %q\n", seq, rec.Data)
		if err != nil {
			return out, err
		}
		at := time.Unix(0, rec.Time)
		if out.Records == 0 {
			out.MinTime = at
		}
		out.MaxTime = at
		out.Records++
		out.RawBytes += int64(n)
	}
}

func (lineEncoder) Decode(src io.Reader, _ object.Encoding) (io.ReadCloser, error) {
	return io.NopCloser(src), nil
}

// stageAll stages every sealed segment and returns the payloads by sequence number.
func stageAll(t testing.TB, s *Spool) map[uint64]string {
	t.Helper()
	got := map[uint64]string{}
	for _, seg := range s.shelf.Sealed(0, 0) {
		rec, err := s.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
		if errors.Is(err, fs.ErrNotExist) && !slices.ContainsFunc(s.shelf.Sealed(0, 0), func(left Segment) bool { return left.Number == seg.Number }) {
			continue // it was delivered, and has been deleted since
		}
		if err != nil {
			t.Fatal(err)
		}
		readStaged(t, s, rec, got)
	}
	return got
}

// readStaged adds a staged file's records to got, which must not have them yet.
func readStaged(t testing.TB, s *Spool, rec *StageRecord, got map[uint64]string) {
	t.Helper()
	body, closeBody, err := s.shelf.OpenStaged(rec.Segment)
	if err != nil {
		t.Fatal(err)
	}
	defer closeBody()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != rec.SHA256 || int64(len(data)) != rec.Size {
		t.Fatalf("staged file of segment %d is not what its record says", rec.Segment)
	}
	for line := range bytes.Lines(data) {
		num, quoted, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		seq, err := strconv.ParseUint(num, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := got[seq]; ok || seq < rec.First || seq > rec.Last {
			t.Fatalf("record %d is in segment %d a second time, or does not belong there", seq, rec.Segment)
		}
		got[seq] = payload
	}
}

// wantRecords checks that got holds exactly the records 1 to n, each with its own payload.
func wantRecords(t testing.TB, got map[uint64]string, n int, size int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		want := string(record(i, size).Data)
		if got[uint64(i)] != want {
			t.Fatalf("record %d is %.40q, want %.40q", i, got[uint64(i)], want)
		}
	}
	if len(got) != n {
		t.Fatalf("%d records, want %d", len(got), n)
	}
}

// deliver proposes and acknowledges, for one destination, a manifest over everything that is sealed up to number n.
func deliver(t testing.TB, s *Spool, dest string, n uint64) {
	t.Helper()
	if err := tryDeliver(s, dest, n); err != nil {
		t.Fatal(err)
	}
}

func tryDeliver(s *Spool, dest string, n uint64) error {
	c, err := s.shelf.Chain(dest)
	if err != nil {
		return err
	}
	manifest, err := s.shelf.Proposed(dest)
	if err != nil {
		manifest = fmt.Appendf(nil, "manifest %d of epoch %d to segment %d", c.Next, c.Epoch, n)
		if err := s.shelf.Propose(dest, manifest, false); err != nil {
			return err
		}
	} else if _, err := fmt.Sscanf(string(manifest[strings.LastIndexByte(string(manifest), ' ')+1:]), "%d", &n); err != nil {
		return err
	}
	segs := s.shelf.Sealed(0, 0)
	i := slices.IndexFunc(segs, func(seg Segment) bool { return seg.Number == n })
	c.Next++
	c.Hash = sha256.Sum256(manifest)
	if i >= 0 && n > c.Segment {
		c.Segment, c.Through = n, segs[i].Last
	}
	return s.shelf.Ack(dest, c)
}

// until waits for a condition that a change of the spool brings about.
func until(t testing.TB, s *Spool, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		c := s.shelf.Changed()
		if cond() {
			s.shelf.afterPrune() // a segment counts as deleted before its files are gone
			return
		}
		select {
		case <-c:
		case <-deadline:
			t.Fatalf("waited too long for: %s", what)
		}
	}
}

// balanced checks the ledger's two equations against what the spool says it holds.
func balanced(t testing.TB, s *Spool) {
	t.Helper()
	l, st := s.Ledger(), s.Stats()
	if err := l.Balance(); err != nil {
		t.Fatal(err)
	}
	if l.Buffered() != st.Buffered {
		t.Fatalf("the ledger has %+v buffered, memory holds %+v; received %+v kept %+v lost %+v", l.Buffered(), st.Buffered, l.Received, l.Kept, l.Lost)
	}
	for name, p := range st.Pending {
		d := l.Destinations[name]
		sum := d.Tally
		sum.Add(p)
		sum.Add(l.Damaged)
		if c, err := s.shelf.Chain(name); err == nil && c.Joined <= 1 && sum != l.Kept {
			t.Fatalf("destination %s: delivered %+v + pending %+v + damaged %+v is not kept %+v", name, d.Tally, p, l.Damaged, l.Kept)
		}
	}
}

func sha(b []byte) [32]byte { return sha256.Sum256(b) }
