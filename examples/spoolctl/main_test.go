package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is the arrival time of the first record of a scene; each record arrives a second after the one before.
var start = time.Date(2026, 11, 29, 2, 0, 0, 0, time.UTC)

func payload(seq uint64) string { return fmt.Sprintf("record %d of the scene", seq) }

func openSpool(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	sp, err := spool.Open(dir, &spool.Options{
		Class: "vpn", Instance: "host", Destinations: []string{"idc"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20, Sync: spool.SyncAlways,
		SegmentAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

// add appends n records, two at a time.
func add(t testing.TB, sp *spool.Spool, n int) {
	t.Helper()
	for range n / 2 {
		at := sp.Stats().Appended
		batch := make([]segment.Record, 2)
		for i := range batch {
			seq := at + uint64(i) + 1
			batch[i] = segment.Record{
				Time: start.Add(time.Duration(seq) * time.Second).UnixNano(), Data: []byte(payload(seq)),
				Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(seq % 4)}), 514),
			}
		}
		if _, err := sp.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
}

const sceneRecords = 24

// scene makes a spool with a segment that is left only as a staged file (records 1 to 6), one that is sealed and staged (7 to
// 12), one that is only sealed (13 to 18), and one that is active (19 to 24). The process was killed, unless orderly.
func scene(t testing.TB, orderly bool) (dir string) {
	t.Helper()
	live := filepath.Join(t.TempDir(), "live")
	sp := openSpool(t, live)
	enc, err := format.NewEncoder(object.Encoding{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		add(t, sp, 6)
		if i == 3 {
			break
		}
		if err := sp.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		segs := sp.Shelf().Sealed(0, 0)
		if n := segs[len(segs)-1].Number; i < 2 {
			if _, err := sp.Shelf().Stage(t.Context(), n, enc); err != nil {
				t.Fatal(err)
			}
		}
	}
	for noted := false; !noted; { // the note of the newest segment may be some milliseconds late
		<-time.After(time.Millisecond)
		d, err := spool.ReadDirectory(live)
		if err != nil {
			t.Fatal(err)
		}
		noted = d.Next == sceneRecords+1
	}
	dir = filepath.Join(t.TempDir(), "spool")
	if orderly {
		if err := sp.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(dir, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	if !orderly {
		if err := sp.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "seg", "0000000000000001.seg")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tree returns the contents of every file below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		b, err := os.ReadFile(path)
		all[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// call runs the program.
func call(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// sequence returns the sequence numbers of lines of NDJSON. It checks that each is the record that was appended.
func sequence(t testing.TB, out string) (list []uint64) {
	t.Helper()
	for line := range strings.Lines(out) {
		var r struct {
			Seq  uint64
			Data string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.Data != payload(r.Seq) || len(list) > 0 && r.Seq <= list[len(list)-1] {
			t.Errorf("%q after %v", line, list)
		}
		list = append(list, r.Seq)
	}
	return list
}

func TestReading(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		dir := scene(t, orderly)
		before := tree(t, dir)
		code, out, errs := call(t, "status", dir)
		if code != 0 || !strings.Contains(out, "24 records pending") || !strings.Contains(out, "class vpn") {
			t.Errorf("status: %d\n%s%s", code, out, errs)
		}
		code, out, errs = call(t, "ls", filepath.Dir(dir)) // the directory above
		for _, want := range []string{"staged", "sealed", "active", "1-6", "19-24"} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("ls lacks %q: %d\n%s%s", want, code, out, errs)
			}
		}
		if code, out, errs = call(t, "ls", "-files", "-json", dir); code != 0 || !strings.Contains(out, `"kind": "stage-record"`) {
			t.Errorf("ls -files: %d\n%s%s", code, out, errs)
		}
		if code, out, errs = call(t, "cat", dir); code != 0 || errs != "" || len(sequence(t, out)) != sceneRecords {
			t.Errorf("cat: %d\n%s%s", code, out, errs)
		}
		if code, out, errs = call(t, "verify", dir); code != 0 || strings.Contains(out, "\n  seg") {
			t.Errorf("verify: %d\n%s%s", code, out, errs)
		}
		if code, out, errs = call(t, "tail", "-n", "3", dir); code != 0 || fmt.Sprint(sequence(t, out)) != "[22 23 24]" {
			t.Errorf("tail: %d\n%s%s", code, out, errs)
		}
		if code, out, errs = call(t, "du", "-json", dir); code != 0 || !strings.Contains(out, `"kind": "segment"`) {
			t.Errorf("du: %d\n%s%s", code, out, errs)
		}
		if after := tree(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Error("reading has changed something")
		}
	}
}

func TestFilters(t *testing.T) {
	dir := scene(t, true)
	_, segments, err := readSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	third := segments[2].Number
	for _, c := range []struct {
		args string
		want string
	}{
		{"-records 5-8", "[5 6 7 8]"},
		{"-records 23-", "[23 24]"},
		{"-records 9", "[9]"},
		{fmt.Sprintf("-segment %d", third), "[13 14 15 16 17 18]"},
		{"-limit 2", "[1 2]"},
		{"-source 192.0.2.3", "[3 7 11 15 19 23]"},
		{"-source 192.0.2.2/31 -records 1-8", "[2 3 6 7]"},
		{"-source 192.0.2.3:514 -source 192.0.2.0:514 -records 1-8", "[3 4 7 8]"},
		{"-source 192.0.2.3:515", "[]"},
		{"-text 1 -text 2", "[12 21]"},
		{"-since 2026-11-29T02:00:23Z", "[23 24]"},
		{"-since 2026-11-29T02:00:10Z -until 2026-11-29T02:00:12Z", "[10 11]"},
		{"-since 1s", "[]"},
	} {
		code, out, errs := call(t, append([]string{"cat", dir}, strings.Fields(c.args)...)...)
		if got := fmt.Sprint(sequence(t, out)); code != 0 || got != c.want || errs != "" {
			t.Errorf("%s: %d, %s, want %s\n%s", c.args, code, got, c.want, errs)
		}
	}
	if _, out, _ := call(t, "cat", "-format", "raw", "-records", "1", dir); out != payload(1)+"\n" {
		t.Errorf("raw: %q", out)
	}
	if _, out, _ := call(t, "cat", "-format", "text", "-records", "1", dir); out != "1 2026-11-29T02:00:01.000Z 192.0.2.1:514 "+payload(1)+"\n" {
		t.Errorf("text: %q", out)
	}
}

func TestExport(t *testing.T) {
	dir := scene(t, false)
	to := filepath.Join(t.TempDir(), "out")
	code, out, errs := call(t, "export", "-to", to, "-json", dir)
	var sums []summary
	if err := json.Unmarshal([]byte(out), &sums); err != nil || code != 0 {
		t.Fatalf("%d, %v\n%s%s", code, err, out, errs)
	}
	if s := sums[0]; s.Records != sceneRecords || len(s.Files) != 4 || len(s.Missing) != 0 || s.Files[0].SHA256 == "" {
		t.Errorf("%+v", s)
	}
	if b, err := os.ReadFile(filepath.Join(to, "export.json")); err != nil || !bytes.Contains(b, []byte(sums[0].Files[3].SHA256)) {
		t.Errorf("%v\n%s", err, b)
	}
	single := filepath.Join(t.TempDir(), "x.ndjson")
	if code, out, errs = call(t, "export", "-to", single, "-records", "7-20", dir); code != 0 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	b, err := os.ReadFile(single)
	if got := sequence(t, string(b)); err != nil || len(got) != 14 || got[0] != 7 {
		t.Errorf("%v, %v", got, err)
	}
	for _, args := range [][]string{
		{"export", dir},
		{"export", "-to", single, dir}, // there already
		{"export", "-to", to, dir},
		{"export", "-to", filepath.Join(dir, "seg", "x"), dir},
		{"export", "-to", t.TempDir(), "-format", "native", dir},
		{"export", "-to", t.TempDir(), "-codec", "x", dir},
	} {
		if code, _, errs := call(t, args...); code != exitUsage || errs == "" {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
}

// TestTail follows a spool that another process writes to, across the end of segments.
func TestTail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	sp := openSpool(t, dir)
	add(t, sp, 4)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"tail", "-f", "-n", "2", dir}, w, io.Discard)
		_ = w.Close()
	}()
	dec := json.NewDecoder(r)
	expect := func(first, last uint64) {
		t.Helper()
		for want := first; want <= last; want++ {
			var x struct{ Seq uint64 }
			if err := dec.Decode(&x); err != nil || x.Seq != want {
				t.Fatalf("record %d, %v; want %d", x.Seq, err, want)
			}
		}
	}
	expect(3, 4)
	for i := range 3 {
		if err := sp.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		add(t, sp, 6)
		expect(uint64(5+6*i), uint64(10+6*i))
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	_ = r.Close()
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRepair(t *testing.T) {
	dir := scene(t, false)
	if code, out, errs := call(t, "repair", dir, "-apply"); code != 0 {
		t.Fatalf("recovery: %d\n%s%s", code, out, errs)
	}
	if err := os.Truncate(filepath.Join(dir, "index.db"), 1000); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	code, out, errs := call(t, "repair", dir)
	if code != exitRepair || !strings.Contains(out, "replace index.db") || !strings.Contains(out, "spoolctl repair -apply -plan ") {
		t.Fatalf("plan: %d\n%s%s", code, out, errs)
	}
	if after := tree(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a plan has changed something")
	}
	if code, _, errs := call(t, "repair", "-apply", "-plan", "000000000000", dir); code != exitFailed || !strings.Contains(errs, "look at it again") {
		t.Errorf("another plan: %d, %s", code, errs)
	}
	sp := openSpool(t, filepath.Join(t.TempDir(), "other"))
	if code, _, errs := call(t, "repair", "-apply", sp.Options().Class, dir); code == 0 {
		t.Errorf("two spools: %d, %s", code, errs)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	plan := out[strings.Index(out, "-plan ")+6:][:12]
	code, out, errs = call(t, "repair", "-apply", "-plan", plan, dir)
	if code != 0 || !strings.Contains(out, "done: the spool holds 24 records; what was replaced is in "+filepath.Join(dir, "kept-")) {
		t.Errorf("repair: %d\n%s%s", code, out, errs)
	}
	if code, out, _ = call(t, "repair", dir); code != 0 || !strings.Contains(out, "nothing to repair") {
		t.Errorf("again: %d\n%s", code, out)
	}
	sp = openSpool(t, dir)
	if code, _, errs := call(t, "repair", "-apply", dir); code != exitFailed || !strings.Contains(errs, "stop the service first") {
		t.Errorf("beside a service: %d, %s", code, errs)
	}
	for _, args := range [][]string{{"status", dir}, {"ls", dir}, {"verify", dir}, {"cat", dir}, {"tail", dir}, {"du", dir}} {
		if code, out, errs := call(t, args...); code != 0 || out == "" {
			t.Errorf("%q beside a service: %d\n%s%s", args, code, out, errs)
		}
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUsage(t *testing.T) {
	dir := scene(t, true)
	for _, args := range [][]string{
		{},
		{"lst"},
		{"ls"},
		{"ls", "-x", dir},
		{"cat", "-format", "xml", dir},
		{"cat", "-records", "0", dir},
		{"cat", "-since", "noon", dir},
		{"cat", "-source", "host", dir},
		{"cat", dir, dir},
	} {
		if code, _, errs := call(t, args...); code != exitUsage || errs == "" {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
	for _, args := range [][]string{{"ls", t.TempDir()}, {"status", "/nowhere/at/all"}, {"repair", "-identity", "/nowhere", dir}} {
		if code, _, errs := call(t, args...); code != exitFailed || errs == "" {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
	for _, c := range commands() {
		code, out, _ := call(t, c.name, "-h")
		for _, want := range []string{"Examples:", "Exit codes:", "-json", "spoolctl " + c.name} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%s -h lacks %q: %d\n%s", c.name, want, code, out)
			}
		}
	}
	for _, args := range [][]string{{"-h"}, {"man"}, {"version"}, {"completion", "bash"}, {"help", "repair"}} {
		if code, out, _ := call(t, args...); code != 0 || out == "" {
			t.Errorf("%q: %d, %q", args, code, out)
		}
	}
}

// TestStateOfAdopted: a killed process leaves its name on the volume. That must not hide the fact that another process has
// delivered everything since.
func TestStateOfAdopted(t *testing.T) {
	s := status{Directory: &spool.Directory{}}
	s.Holder = "process 7 of i-0123456789abcdef0"
	if got := s.state(); !strings.HasPrefix(got, "not open") {
		t.Error(got)
	}
	s.Adopted, s.AdoptedBy = time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC), "i-0fedcba9876543210"
	if got, want := s.state(), "everything was delivered by i-0fedcba9876543210 at "; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.Destinations = map[string]spool.Inspected{"idc": {Delivered: segment.Tally{Records: 4}, Pending: segment.Tally{Records: 3}}}
	var b strings.Builder
	if s.write(&b); strings.Contains(b.String(), "pending") || !strings.Contains(b.String(), "and 3 records by the adopter") {
		t.Error(b.String())
	}
	s.Open = true
	if got := s.state(); !strings.HasPrefix(got, "open in") {
		t.Error(got)
	}
}
