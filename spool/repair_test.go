package spool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// diskSpool makes a spool on the disk: two sealed segments with the records 1 to 10 and 11 to 20, and an active one with 21 to
// 30. It is closed in order.
func diskSpool(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "spool")
	sp := openDisk(t, dir)
	for i := range 3 {
		batch := make([]segment.Record, 10)
		for j := range batch {
			batch[j] = segment.Record{Time: int64(10*i + j + 1), Data: fmt.Appendf(nil, "record %d", 10*i+j+1)}
		}
		if _, err := sp.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if err := sp.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openDisk(t *testing.T, dir string) *spool.Spool {
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

// tree returns the contents of every file below dir, and of links and others what they are.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		all[rel] = d.Type().String()
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			all[rel] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// segments returns the paths of the segment files.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("%q, %v", paths, err)
	}
	return paths
}

// TestRepairCures: if Open refuses a spool with advice that loses nothing, a repair follows the advice. The plan changes nothing,
// and every record is there afterwards.
func TestRepairCures(t *testing.T) {
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		hurt    func(dir string)
		want    []string // changes
		records uint64
		opens   bool // Open does not refuse it: it continues with less
	}{
		{"a segment is a link to another disk", func(dir string) {
			path := segments(t, dir)[0]
			other := filepath.Join(t.TempDir(), "x.seg")
			must(os.Rename(path, other), os.Symlink(other, path))
		}, []string{"replace seg/"}, 30, false},
		{"a link that leads nowhere", func(dir string) {
			must(os.Symlink("/nowhere/at/all", filepath.Join(dir, "stage", "x")))
		}, []string{"move stage/x kept/stage/x"}, 30, false},
		{"the active segment has another name", func(dir string) {
			path := segments(t, dir)[2]
			must(os.Link(path, filepath.Join(t.TempDir(), "backup")))
		}, []string{"replace seg/"}, 30, false},
		{"the mark of an adoption is damaged", func(dir string) {
			must(os.WriteFile(filepath.Join(dir, "adopted"), []byte("{}"), 0o600))
		}, []string{"move adopted kept/adopted"}, 30, false},
		{"a directory in the place of a file", func(dir string) {
			must(os.Mkdir(filepath.Join(dir, "life"), 0o700), os.MkdirAll(filepath.Join(dir, "free", "x", "y"), 0o700))
		}, []string{"move life kept/life", "move free/x kept/free/x"}, 30, false},
		{"a file in the place of a directory", func(dir string) {
			must(os.RemoveAll(filepath.Join(dir, "free")), os.WriteFile(filepath.Join(dir, "free"), []byte("x"), 0o600))
		}, []string{"move free kept/free"}, 30, false},
		{"an unfinished file and a damaged index", func(dir string) {
			must(os.WriteFile(filepath.Join(dir, "chain", "idc.json.7.tmp"), []byte("x"), 0o600))
			b, err := os.ReadFile(filepath.Join(dir, "index.db"))
			b[len(b)/2] ^= 1
			b[20] ^= 1
			must(err, os.WriteFile(filepath.Join(dir, "index.db"), b, 0o600))
		}, []string{"replace index.db", "remove chain/idc.json.7.tmp"}, 30, true},
		{"the identity is gone", func(dir string) {
			must(os.Remove(filepath.Join(dir, "spool.json")))
		}, []string{"create spool.json"}, 30, true},
		{
			"a segment is gone", func(dir string) { must(os.Remove(segments(t, dir)[1])) },
			[]string{"create damaged/", "create seg/"},
			20, true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("needs links, and files that are replaced while they are open")
			}
			dir := diskSpool(t)
			c.hurt(dir)
			before := tree(t, dir)
			p, err := spool.PlanRepair(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if after := tree(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Error("a plan has changed something")
			}
			if p.Refused != "" || p.Records != c.records {
				t.Errorf("refused %q, %d records", p.Refused, p.Records)
			}
			var got []string
			for _, x := range p.Changes {
				if !x.Routine {
					got = append(got, strings.TrimSpace(x.What+" "+x.Path+" "+x.To))
				}
			}
			for _, want := range c.want {
				if !strings.Contains(strings.Join(got, "\n"), want) {
					t.Errorf("the plan lacks %q:\n%s", want, strings.Join(got, "\n"))
				}
			}
			if !c.opens {
				refused(t, dir)
				before = tree(t, dir) // it may have come some way
				if p, err = spool.PlanRepair(dir, nil); err != nil {
					t.Fatal(err)
				}
			}
			kept, err := p.Apply()
			if err != nil {
				t.Fatal(err)
			}
			var record struct {
				Files []struct{ Path, SHA256 string }
			}
			b, err := os.ReadFile(filepath.Join(kept, "plan.json"))
			if err == nil {
				err = json.Unmarshal(b, &record)
			}
			if err != nil || !strings.HasPrefix(filepath.Base(kept), "kept-") {
				t.Errorf("%s: %v", kept, err)
			}
			var all []string
			for _, b := range tree(t, dir) {
				all = append(all, b)
			}
			for path, b := range before {
				if path != "LOCK" && len(b) != len(fs.ModeSymlink.String()) && (path != "index.db" || p.Changes[0].Path == path) && !strings.Contains(strings.Join(all, "\x00"), b) {
					t.Errorf("what was in %s is gone: %+v", path, p.Changes)
				}
			}
			if again, err := spool.PlanRepair(dir, nil); err != nil || again.Needed() {
				t.Errorf("there is more to do: %v, %+v", err, again)
			}
			sp := openDisk(t, dir)
			n := uint64(0)
			for _, err := range sp.Tail(t.Context(), 0, &spool.TailOptions{Stop: true}) {
				if err == nil {
					n++
				}
			}
			if n != c.records {
				t.Errorf("%d records", n)
			}
			if err := sp.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// refused checks that Open refuses a directory, and leaves the segments as they are.
func refused(t *testing.T, dir string) {
	t.Helper()
	sp, err := spool.Open(dir, &spool.Options{Class: "vpn", Instance: "host", Destinations: []string{"idc"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20})
	if err == nil {
		t.Errorf("Open does not refuse it")
		_ = sp.Close()
	}
}

// TestRepairIdentity: a directory that does not say whose spool it is, is refused with a reason, and repaired with a copy of
// spool.json. A copy of another spool's is refused too.
func TestRepairIdentity(t *testing.T) {
	dir := diskSpool(t)
	id, err := os.ReadFile(filepath.Join(dir, "spool.json"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(diskSpool(t), "spool.json"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := spool.PlanRepair(dir, &spool.RepairOptions{Identity: foreign}); err != nil || p.Needed() {
		t.Errorf("an identity that is not needed: %v, %+v", err, p)
	}
	for _, name := range []string{"spool.json", "begun", "clean", "chain/idc.json"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range segments(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Clone(b[:len(b)-40]) // no footer
		copy(b, make([]byte, 40))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []*spool.RepairOptions{nil, {Identity: []byte("{}")}} {
		p, err := spool.PlanRepair(dir, o)
		if err != nil || !strings.Contains(p.Refused, "restore spool.json from a copy") {
			t.Fatalf("%v, %+v", err, p)
		}
		if _, err := p.Apply(); err == nil {
			t.Error("a plan that does not suffice was carried out")
		}
	}
	p, err := spool.PlanRepair(dir, &spool.RepairOptions{Identity: id})
	if err != nil || p.Refused != "" || p.Class != "vpn" {
		t.Fatalf("%v, %+v", err, p)
	}
	if _, err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	sp := openDisk(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRepairBeside: neither a plan nor a repair is made beside a process, and a sound spool needs none.
func TestRepairBeside(t *testing.T) {
	dir := diskSpool(t)
	p, err := spool.PlanRepair(dir, nil)
	if err != nil || p.Needed() {
		t.Fatalf("%v, %+v", err, p)
	}
	if kept, err := p.Apply(); kept != "" || err != nil {
		t.Errorf("nothing was to be done: %q, %v", kept, err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c, err := spool.PlanRepair(copied, nil) // its next start begins an epoch, so that the active segment ends
	if err != nil || c.Refused != "" {
		t.Fatalf("%v, %+v", err, c)
	}
	for _, x := range c.Changes {
		if !x.Routine && (x.What != "change" || !strings.HasPrefix(x.Path, "seg/")) {
			t.Errorf("a sound copy: %+v", x)
		}
	}
	sp := openDisk(t, dir)
	if _, err := spool.PlanRepair(dir, nil); !errors.Is(err, spool.ErrLocked) {
		t.Error(err)
	}
	if _, err := p.Apply(); !errors.Is(err, spool.ErrLocked) {
		t.Error(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := spool.PlanRepair(t.TempDir(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := spool.PlanRepair("", nil); !errors.Is(err, spool.ErrOptions) {
		t.Error(err)
	}
}

// ExampleReadDirectory looks into a spool that a process has open.
func ExampleReadDirectory() {
	dir, _ := os.MkdirTemp("", "spool")
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, &spool.Options{Class: "vpn", Destinations: []string{"idc"}, MaxBytes: 1 << 30})
	if err != nil {
		panic(err)
	}
	defer sp.Close()
	_, _ = sp.Append(context.Background(), []segment.Record{{Data: []byte("a record")}})
	_ = sp.Seal(context.Background())

	d, err := spool.ReadDirectory(dir) // as any other process could
	if err != nil {
		panic(err)
	}
	segments, err := d.ReadSegments()
	if err != nil {
		panic(err)
	}
	for _, s := range segments {
		if s.State == spool.SegmentSealed {
			fmt.Println("class", d.Class, "segment", s.Number, s.State, "with", s.Records, "record")
		}
	}
	fmt.Println("pending for idc:", d.Destinations["idc"].Pending.Records)
	// Output:
	// class vpn segment 1 sealed with 1 record
	// pending for idc: 1
}

// ExamplePlanRepair repairs a spool whose index was damaged while no process had it open.
func ExamplePlanRepair() {
	dir, _ := os.MkdirTemp("", "spool")
	defer os.RemoveAll(dir)
	sp, err := spool.Open(dir, &spool.Options{MaxBytes: 1 << 30})
	if err != nil {
		panic(err)
	}
	_, _ = sp.Append(context.Background(), []segment.Record{{Data: []byte("a record")}})
	_ = sp.Close()
	_ = os.Truncate(filepath.Join(dir, "index.db"), 100)

	plan, err := spool.PlanRepair(dir, nil)
	if err != nil {
		panic(err)
	}
	for _, x := range plan.Changes {
		if !x.Routine {
			fmt.Println(x.What, x.Path)
		}
	}
	if _, err := plan.Apply(); err != nil {
		panic(err)
	}
	fmt.Println(plan.Records, "record")
	// Output:
	// replace index.db
	// 1 record
}
