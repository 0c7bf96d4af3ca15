package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestNextVolume: a volume that is mounted where another one was adopted before is adopted too, even if its directory has the
// other's device and inode: it must not count as delivered.
func TestNextVolume(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	mount := filepath.Join(dir, "mounts", "vol")
	c, err := parseFlags([]string{
		"-spool=" + filepath.Join(dir, "spool"), "-listen=vpn=udp://127.0.0.1:0", "-adopt=" + filepath.Join(dir, "mounts"),
		"-adopt-max-bytes=512MiB", "-dest=a=file://" + filepath.Join(dir, "a"),
	}, io.Discard)
	if err == nil {
		err = errors.Join(os.MkdirAll(c.spoolDir, 0o750), os.MkdirAll(filepath.Join(mount, "seg"), 0o750))
	}
	if err != nil {
		t.Fatal(err)
	}
	a := newAdoptions(c, slog.New(slog.DiscardHandler))
	for volume := range 2 {
		next := filepath.Join(dir, "volume")
		s, err := spool.Open(next, &spool.Options{Class: "vpn", Destinations: []string{"a"}, MaxBytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		id := s.Stats().Spool
		_, err = s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}})
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		// All but the directory "seg" itself, as if both volumes had the same one.
		for _, pattern := range []string{"seg/*", "*"} {
			old, _ := filepath.Glob(filepath.Join(mount, pattern))
			for _, path := range old {
				if filepath.Base(path) != "seg" {
					err = errors.Join(err, os.RemoveAll(path))
				}
			}
			files, _ := filepath.Glob(filepath.Join(next, pattern))
			for _, path := range files {
				if rel, _ := filepath.Rel(next, path); rel != "seg" {
					err = errors.Join(err, os.Rename(path, filepath.Join(mount, rel)))
				}
			}
		}
		if err = errors.Join(err, os.RemoveAll(next)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second look finds nothing new
			a.look()
			a.wg.Wait()
		}
		if o := a.seen[mount]; o == nil || o.State != "delivered" || o.Attempts != 1 {
			t.Errorf("volume %d: %+v", volume, o)
		}
		if _, err := os.Stat(filepath.Join(c.spoolDir, adoptWork, "vpn-"+id+".report.json")); err != nil {
			t.Errorf("volume %d was not adopted: %v", volume, err)
		}
	}
}

// TestAdoptionSaysWhatIsLeft: damaged records keep an adoption from ending, like undelivered ones, and its state names them.
func TestAdoptionSaysWhatIsLeft(t *testing.T) {
	damage := spool.Damage{Segment: 7, Ranges: []segment.Range{{First: 3, Last: 5}}, Records: 3, Why: "damaged in the sealed segment"}
	given := damage
	given.Segment, given.GivenUp = 8, true
	r := &drain.Report{Outcome: drain.Incomplete, Classes: map[string]drain.ClassReport{"vpn": {Damages: []spool.Damage{damage, given}}}}
	if got := whatIsLeft(r); !strings.Contains(got, "class vpn, segment 7: 3 damaged records") || !strings.Contains(got, "give-up") || strings.Contains(got, "segment 8") {
		t.Error(got)
	}
	r.Left, r.Errors = []drain.Leftover{{First: 9, Last: 12, Destination: "idc", Why: "timeout"}}, []string{"out of time"}
	if got := whatIsLeft(r); !strings.Contains(got, "1 leftovers, the first: records 9 to 12, not at idc: timeout; class vpn, segment 7") || !strings.HasSuffix(got, "; out of time") {
		t.Error(got)
	}
}

// TestAdoptMissingDirectory: if a directory of -adopt does not exist, that is logged as a warning once, and again once it
// exists. The name may be mistyped, or the volume not mounted.
func TestAdoptMissingDirectory(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	root := filepath.Join(dir, "orphans")
	c, err := parse(t, "-adopt="+root)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := newAdoptions(c, slog.New(slog.NewTextHandler(&out, nil)))
	a.look()
	a.look()
	if n := strings.Count(out.String(), "level=WARN"); n != 1 || !strings.Contains(out.String(), root) {
		t.Errorf("%d warnings: %s", n, &out)
	}
	if owed := a.Pending(); len(owed) != 0 { // its volume is not attached here
		t.Errorf("%+v", owed)
	}
	out.Reset()
	if err := os.Mkdir(root, 0o750); err != nil {
		t.Fatal(err)
	}
	a.look()
	if strings.Count(out.String(), "level=INFO") != 1 || strings.Contains(out.String(), "WARN") {
		t.Errorf("once it is there: %s", &out)
	}
	// A directory that exists but cannot be read may hold anything.
	if err := errors.Join(os.Remove(root), os.WriteFile(root, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	a.look()
	if owed := a.Pending(); len(owed) != 1 || owed[0].Dir != root {
		t.Errorf("of what cannot be read: %+v", owed)
	}
}

// TestAdoptUnreadableSpool: a spool that exists but cannot be inspected may hold anything: a drain waits for it, whether it was
// found before or not.
func TestAdoptUnreadableSpool(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	vol := filepath.Join(dir, "vol")
	s, err := spool.Open(vol, &spool.Options{Class: "vpn", Destinations: []string{"a"}, MaxBytes: 1 << 30})
	if err == nil {
		_, err = s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}})
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, "-adopt="+dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(vol, "spool.json")
	spoil := func() error { // a stand-in for a disk that fails: os.Stat returns an error
		return errors.Join(os.Rename(name, name+".good"), os.Symlink("spool.json", name))
	}
	for _, seen := range []bool{false, true} {
		var out bytes.Buffer
		a := newAdoptions(c, slog.New(slog.NewTextHandler(&out, nil)))
		a.end() // nothing is delivered
		if seen {
			a.look()
			a.wg.Wait()
		}
		if err := spoil(); err != nil {
			t.Skip(err)
		}
		for range 2 {
			a.look()
			a.wg.Wait()
		}
		if owed := a.Pending(); len(owed) != 1 || owed[0].Dir != vol {
			t.Errorf("seen before %v: owed: %+v", seen, owed)
		}
		if n := strings.Count(out.String(), "level=WARN"); n != 1 || !strings.Contains(out.String(), vol) {
			t.Errorf("seen before %v: %d warnings: %s", seen, n, &out)
		}
		if err := errors.Join(os.Remove(name), os.Rename(name+".good", name)); err != nil {
			t.Fatal(err)
		}
		a.look()
		if owed := a.Pending(); len(owed) != 1 || strings.Contains(owed[0].Why, "cannot be read") {
			t.Errorf("seen before %v: it can be read again: %+v", seen, owed)
		}
	}
}

// TestNoWorkOfOthers: if a collector died during an adoption, the work directory on its own volume looks like a spool. It is
// not adopted: everything in it is also on the volume from which it was made.
func TestNoWorkOfOthers(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	s, err := spool.Open(filepath.Join(dir, "vpn"), &spool.Options{Class: "vpn", Destinations: []string{"a"}, MaxBytes: 1 << 30})
	if err == nil {
		_, err = s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("x")}})
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, err = spool.Adopt(filepath.Join(dir, "vpn"), &spool.AdoptOptions{Work: filepath.Join(work, adoptWork), MaxBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found, err := spoolsBelow(work, "", adoptDepth); len(found) > 0 || err != nil {
		t.Errorf("%q, %v", found, err)
	}
}
