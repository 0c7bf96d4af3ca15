package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool"
)

// desk is one reaper with the test's own disks; its steps are not interrupted.
type desk struct {
	*Reaper
	*fakeEC2
	clock    time.Time
	disks    map[string]Content // by volume
	mounted  map[string]string  // device -> directory
	files    func(dir string)   // creates the contents of a volume
	adoption Adoption
	proof    Proof
	proofErr error
	zero     bool
}

func newDesk(t *testing.T) *desk {
	d := &desk{clock: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), disks: map[string]Content{}, mounted: map[string]string{}, files: func(string) {}}
	d.fakeEC2 = newFakeEC2(t, func() time.Time { return d.clock })
	c := d.client("i-1")
	d.Reaper = &Reaper{
		Instance: "i-1", Fleet: "penstock", Orphans: t.TempDir(), Apply: true, AtOnce: 2, Young: 10 * time.Minute, Retry: 24 * time.Hour, Patience: 12 * time.Hour,
		Lister: c, Attacher: c, Keeper: c, Disks: d, Mounts: d, Files: d,
		Leaving:  func(context.Context) (bool, error) { return false, nil },
		Adoption: func(context.Context, string) (Adoption, error) { return d.adoption, nil },
		Prove:    func(context.Context, string) (Proof, error) { return d.proof, d.proofErr },
		Pause:    func(_ context.Context, p time.Duration) error { d.clock = d.clock.Add(p); return nil },
		Now:      func() time.Time { return d.clock }, Log: slog.New(slog.DiscardHandler),
	}
	return d
}

func (d *desk) Find(id string) (string, error) {
	if v := d.get(id); v == nil || v.Attached == nil || v.Attached.State != "attached" {
		return "", fs.ErrNotExist
	}
	return "/dev/" + id, nil
}

func (d *desk) Probe(_ context.Context, device string) (Content, error) {
	return d.disks[strings.TrimPrefix(device, "/dev/")], nil
}

func (d *desk) Zero(context.Context, string, int64) (int64, bool, bool, error) {
	return 1, true, d.zero, nil
}

func (d *desk) At(device string) (dirs []string, err error) {
	if m, ok := d.mounted[device]; ok {
		dirs = append(dirs, m)
	}
	return dirs, nil
}

func (d *desk) Mount(device string, _ Content, dir string) error {
	d.mounted[device] = dir
	err := os.Mkdir(dir, 0o755)
	d.files(dir)
	return err
}

func (d *desk) Unmount(device, dir string) error {
	delete(d.mounted, device)
	return os.RemoveAll(dir)
}

func (d *desk) Inodes(string, string) (uint64, bool, error) { return 0, true, nil }

// passes makes some passes, and returns the state of the volume afterwards.
func (d *desk) passes(t *testing.T, id string, n int) *Volume {
	t.Helper()
	for range n {
		if err := d.Pass(t.Context()); err != nil {
			t.Error(err)
		}
		d.clock = d.clock.Add(time.Minute)
	}
	return d.get(id)
}

// old makes a volume that no instance holds.
func (d *desk) old(id string) {
	d.launch(id, "")
	d.clock = d.clock.Add(time.Hour)
	d.disks[id] = Content{FileSystem: "ext4"}
}

// withSpool puts an empty spool on each volume.
func withSpool(t *testing.T) func(string) {
	return func(dir string) {
		s, err := spool.Open(filepath.Join(dir, "spool/vpn"), &spool.Options{Class: "vpn", Destinations: []string{"idc", "s3"}, MaxBytes: 1 << 30, SegmentBytes: 64 << 10, Sync: spool.SyncNone})
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestDryRun: without -apply nothing is changed in any situation.
func TestDryRun(t *testing.T) {
	d := newDesk(t)
	d.Apply = false
	d.old("vol-1")
	d.launch("vol-2", "i-1")
	d.volumes["vol-2"].Attached.Device = "/dev/sdg"
	d.passes(t, "vol-1", 5)
	for call, n := range d.calls {
		if call != "DescribeVolumes" {
			t.Errorf("%d calls of %s", n, call)
		}
	}
	if len(d.mounted) > 0 {
		t.Errorf("mounted: %v", d.mounted)
	}
}

// TestNeedsBoth: neither the collector's report nor the auditor's alone is enough, and the tag of an earlier proof counts as
// none.
func TestNeedsBoth(t *testing.T) {
	for name, c := range map[string]struct {
		adoption Adoption
		proof    Proof
		err      error
		want     string // in the reason; "" if it is deleted
		state    string
	}{
		"unknown to the collector": {Adoption{}, Proof{Complete: true}, nil, "not adopted yet", adopting},
		"being delivered":          {Adoption{State: "delivering"}, Proof{Complete: true}, nil, "to be adopted", adopting},
		"waiting":                  {Adoption{"waiting", "refused"}, Proof{Complete: true}, nil, "not adopted yet: refused", adopting},
		"not proven":               {Adoption{State: "delivered"}, Proof{Why: "s3 has less"}, nil, "s3 has less", adopting},
		"cannot be asked":          {Adoption{State: "delivered"}, Proof{}, errors.New("https://u:hunter2@idc: no route"), "https://_idc: no route", adopting},
		"never":                    {Adoption{State: "delivered"}, Proof{Why: "damaged", Lasting: true}, nil, "damaged", kept},
		"both":                     {Adoption{State: "delivered"}, Proof{Complete: true}, nil, "", ""},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			d := newDesk(t)
			d.files, d.adoption, d.proof, d.proofErr = withSpool(t), c.adoption, c.proof, c.err
			d.old("vol-1")
			d.volumes["vol-1"].Tags[tagState], d.volumes["vol-1"].Tags[tagReason] = delivered, note(d.clock.Add(-time.Hour), "i-0", "an earlier proof")
			v := d.passes(t, "vol-1", 5)
			if c.want == "" {
				if v != nil {
					t.Errorf("it stays: %+v", v)
				}
				return
			}
			if v == nil || v.Tags[tagState] != c.state || !strings.Contains(v.Tags[tagReason], c.want) {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestNotTouched: the instance's own volume, volumes of other fleets, new volumes, and volumes that are mounted elsewhere.
func TestNotTouched(t *testing.T) {
	d := newDesk(t)
	d.launch("vol-1", "i-1") // /dev/sdf
	d.launch("vol-2", "i-2")
	d.launch("vol-3", "i-1")
	d.volumes["vol-3"].Attached.Device = "/dev/sdh"
	d.mounted["/dev/vol-3"] = "/mnt"
	d.launch("vol-4", "")
	d.volumes["vol-4"].Tags[tagFleet] = "other"
	d.clock = d.clock.Add(time.Hour)
	d.launch("vol-5", "")
	d.passes(t, "", 3)
	for call, n := range d.calls {
		if call != "DescribeVolumes" {
			t.Errorf("%d calls of %s", n, call)
		}
	}
	d.Leaving = func(context.Context) (bool, error) { return true, nil }
	d.clock = d.clock.Add(time.Hour)
	if v := d.passes(t, "vol-5", 3); v.Attached != nil {
		t.Error("an instance that is about to end takes a volume")
	}
}

// TestStrange: files that belong to no spool keep their volume, with a reason that names them; so does a volume that is not
// empty.
func TestStrange(t *testing.T) {
	for name, want := range map[string]string{
		"spool/notes.txt": "spool/notes.txt", "spool/vpn/seg/0000000000000001.seg.bak": "spool/vpn/seg/0000000000000001.seg.bak",
		"spool/vpn/damaged/0000000000000001.seg": "damaged", "a/b/c/d/e/seg/0000000000000001.seg": "a/b/c/d/e/seg",
		"lost+found/#12": "lost+found/_12", "spool/asg.json.bak": "spool/asg.json.bak",
		"spool/report.json": "", "spool/asg.json": "", "spool/asg.json.1.tmp": "", "spool/drain.json.12.tmp": "", "spool/adopt-work/vpn-x/seg/1.seg": "",
	} {
		d := newDesk(t)
		d.adoption, d.proof = Adoption{State: "delivered"}, Proof{Complete: true}
		d.files = func(dir string) {
			withSpool(t)(dir)
			p := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte("content"), 0o600)); err != nil {
				t.Error(err)
			}
		}
		d.old("vol-1")
		v := d.passes(t, "vol-1", 5)
		if want == "" != (v == nil) || v != nil && (v.Tags[tagState] != kept || !strings.Contains(v.Tags[tagReason], want)) {
			t.Errorf("%s: %+v", name, v)
		}
	}
	d := newDesk(t)
	d.old("vol-1")
	d.disks["vol-1"] = Content{}
	if v := d.passes(t, "vol-1", 5); v == nil || v.Tags[tagState] != kept || !strings.Contains(v.Tags[tagReason], "fsck -n") {
		t.Errorf("%+v", v)
	}
}

// TestRetry: a volume that was kept is examined again after a while, or when an operator removes its tags.
func TestRetry(t *testing.T) {
	d := newDesk(t)
	d.old("vol-1")
	d.disks["vol-1"] = Content{Signature: "a partition table of type gpt"}
	if v := d.passes(t, "vol-1", 5); v.Tags[tagState] != kept || v.Attached != nil || !strings.Contains(v.Tags[tagReason], "i-1: signature: blkid finds on it a partition table") {
		t.Errorf("%+v", v)
	}
	attached := d.calls["AttachVolume"]
	d.passes(t, "", 10)
	if d.calls["AttachVolume"] != attached {
		t.Error("it is looked at again at once")
	}
	d.disks["vol-1"], d.zero = Content{}, true
	delete(d.volumes["vol-1"].Tags, tagState)
	if v := d.passes(t, "vol-1", 5); v != nil {
		t.Errorf("an operator has removed the tags: %+v", v)
	}
}

// TestProve: the auditor decides about one spool only, but about every destination of that spool.
func TestProve(t *testing.T) {
	w := newWorld(t, 1)
	one, two := &volume{id: "vol-1", kind: done, dir: filepath.Join(w.dir, "vol-1"), records: map[string]bool{}}, &volume{id: "vol-2", kind: owing, dir: filepath.Join(w.dir, "vol-2"), records: map[string]bool{}}
	w.spool(one, "vpn")
	w.spool(two, "vpn")
	s3, idc := audit.Place{Name: "s3", Destination: w.dests["s3"]}, audit.Place{Name: "idc", Destination: w.dests["idc"]}
	both := &prover{places: []audit.Place{s3, idc}}
	want := func(what string, p *prover, v *volume, complete bool, why string) {
		t.Helper()
		r, err := p.prove(t.Context(), filepath.Join(v.dir, "spool/vpn"))
		if err != nil || r.Complete != complete || !strings.Contains(r.Why, why) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	want("delivered", both, one, true, "")
	want("nothing delivered", both, two, false, "owed")
	want("one destination is not asked", &prover{places: []audit.Place{s3}}, one, false, "idc")

	// Its owner has continued since.
	s, err := spool.Open(filepath.Join(one.dir, "spool/vpn"), &spool.Options{Class: "vpn", Destinations: []string{"idc", "s3"}, MaxBytes: 64 << 20, SegmentBytes: 64 << 10})
	w.must(err)
	want("a process has it open", both, one, false, "open")
	w.must(s.Close())
	w.spool(one, "web")
	dir := filepath.Join(one.dir, "spool/web")
	more, err := spool.Open(dir, &spool.Options{Class: "web", Destinations: []string{"idc", "s3"}, MaxBytes: 64 << 20, SegmentBytes: 64 << 10})
	w.must(err)
	_, err = more.Append(t.Context(), record("one more"))
	w.must(errors.Join(err, more.Close()))
	if r, err := both.prove(t.Context(), dir); err != nil || r.Complete {
		t.Errorf("records were appended after the adoption: %+v, %v", r, err)
	}
	if r, err := w.adopt(t.Context(), dir, filepath.Join(w.dir, "i-again"), patient); err != nil || r.Outcome != drain.Delivered {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := both.prove(t.Context(), dir); err != nil || !r.Complete {
		t.Errorf("adopted once more: %+v, %v", r, err)
	}
}

// TestCollectorsWord reads the collector's page: the state of one spool, and why the collector cannot read a directory above
// it.
func TestCollectorsWord(t *testing.T) {
	c := answering(t, `[{"dir":"/o","state":"unreadable","error":"open /o/vol-2: permission denied"},{"dir":"/o/vol-1/spool/vpn","state":"waiting","error":"refused","attempts":3}]`)
	for dir, want := range map[string]Adoption{
		"/o/vol-1/spool/vpn": {"waiting", "refused"}, "/o/vol-2/spool/vpn": {"", "open /o/vol-2: permission denied"}, "/other": {},
	} {
		if a, err := c.adoption(t.Context(), dir); err != nil || a != want {
			t.Errorf("%s: %+v, %v", dir, a, err)
		}
	}
	for _, bad := range []string{"", "{}", "<html>", "[1]"} {
		if a, err := answering(t, bad).adoption(t.Context(), "/o"); err == nil {
			t.Errorf("%q: %+v", bad, a)
		}
	}
}

// TestSettings: all mistakes are reported at once; help, manual and completion exist.
func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"nothing":  {nil, []string{"fleet", "at"}},
		"bad":      {[]string{"-fleet", "f", "-at", "file:///x", "-at-once", "11", "-every", "1ms", "-collector", "localhost", "stray"}, []string{"at-once", "every", "collector", "stray"}},
		"bad flag": {[]string{"-formt"}, []string{"formt"}},
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), c.args, nil, &out, &errs); code != exitUsage {
			t.Errorf("%s: exit code %d", name, code)
		}
		for _, want := range c.says {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%s: %q is not in %s", name, want, errs.String())
			}
		}
	}
	for _, args := range [][]string{{"help"}, {"man"}, {"completion", "bash"}, {"version"}} {
		var out, errs strings.Builder
		if code := run(t.Context(), args, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), "reaper") {
			t.Errorf("%v: %d %s", args, code, errs.String())
		}
	}
}
