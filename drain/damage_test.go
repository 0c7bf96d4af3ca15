package drain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// damage overwrites a part of a segment's file.
func damage(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 5000), 20000)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// segments lists the segment files of a spool.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	return files
}

// stopped fills a spool of which nothing is delivered, and closes it.
func (w *world) stopped() (dir string) {
	w.t.Helper()
	d, sp := w.start(Options{})
	d.halt()
	<-d.all()[0].done
	w.append(sp, 2000)
	if err := sp.Close(); err != nil {
		w.t.Fatal(err)
	}
	return filepath.Join(w.dir, "vpn")
}

// audits audits both destinations.
func (w *world) audits() *audit.Result {
	w.t.Helper()
	r, err := audit.Run(w.t.Context(), &audit.Options{Deep: true, Places: []audit.Place{
		{Name: "good", Destination: w.good}, {Name: "other", Destination: w.other},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// TestDamagedIsNotComplete: records that the disk no longer returns make a drain incomplete, however often it is tried,
// until the operator gives them up. The file that held them stays, and everything else is delivered.
func TestDamagedIsNotComplete(t *testing.T) {
	for name, giveUp := range map[string]func(*testing.T, string, spool.Damage){
		"removed": func(t *testing.T, _ string, x spool.Damage) {
			for _, file := range x.Files {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
		},
		"given up": func(t *testing.T, dir string, x spool.Damage) {
			if err := spool.GiveUp(dir, x.Segment, []segment.Range{{First: 1, Last: 1}}); err != nil { // a record that is not damaged
				t.Fatal(err)
			}
			if err := spool.GiveUp(dir, x.Segment, x.Ranges); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := w.stopped()
			damage(t, segments(t, dir)[1])
			var x spool.Damage
			for i, intent := range []func(*Drainer) (*Report, error){
				func(d *Drainer) (*Report, error) { return d.Drain(t.Context(), "test") },
				func(d *Drainer) (*Report, error) { return d.Stop(t.Context(), "test") },
				func(d *Drainer) (*Report, error) { return d.Drain(t.Context(), "test") },
			} {
				d, _ := w.start(Options{Timeout: time.Minute})
				r, err := intent(d)
				if err != nil || r.Outcome != Incomplete || r.ExitCode() != 4 {
					t.Fatalf("end %d: %v %s", i, err, r.JSON())
				}
				c := r.Classes["vpn"]
				if len(c.Damages) != 1 || c.Damages[0].GivenUp || len(c.Damages[0].Files) != 1 || c.Damages[0].Records != c.Damaged.Records || c.Damages[0].Records == 0 {
					t.Fatalf("end %d: %s", i, r.JSON())
				}
				x = c.Damages[0]
				for dest, dr := range c.Destinations {
					if dr.Pending.Records > 0 || dr.Delivered.Records+x.Records != 2000 {
						t.Fatalf("end %d: %s: %s", i, dest, r.JSON())
					}
				}
				var text strings.Builder
				if err := r.WriteSummary(&text); err != nil || !strings.Contains(text.String(), x.Files[0]+", NOT given up") {
					t.Errorf("%v %s", err, &text)
				}
			}
			if _, err := os.Stat(x.Files[0]); err != nil || filepath.Base(filepath.Dir(x.Files[0])) != "damaged" {
				t.Errorf("the damaged file is not kept: %s, %v", x.Files[0], err)
			}
			w.wantDamaged(x)
			giveUp(t, dir, x)
			d, _ := w.start(Options{Timeout: time.Minute})
			r, err := d.Drain(t.Context(), "test")
			if err != nil || r.Outcome != Delivered || r.Classes["vpn"].Damaged.Records != x.Records {
				t.Fatalf("%v %s", err, r.JSON())
			}
			w.wantDamaged(x) // nothing proves that these records exist
		})
	}
}

// wantDamaged checks that the audit names exactly the damaged records, at both places, and nothing else.
func (w *world) wantDamaged(x spool.Damage) {
	w.t.Helper()
	r := w.audits()
	var got []segment.Range
	for _, f := range r.Findings {
		if f.Code == audit.RecordsDamaged && f.Place == "good" {
			got = append(got, segment.Range{First: f.First, Last: f.Last})
		} else if f.Code != audit.RecordsDamaged && f.Code != audit.Open {
			w.t.Errorf("%+v", f)
		}
	}
	if r.Verdict != audit.Damaged || !slices.Equal(got, x.Ranges) {
		w.t.Errorf("%s: damaged %v, want %v", r.Verdict, got, x.Ranges)
	}
}

// TestDamagedIsNotAdopted: the volume of a spool with damage is not marked as adopted before the operator gives it up.
func TestDamagedIsNotAdopted(t *testing.T) {
	w := newWorld(t)
	dir := w.stopped()
	damage(t, segments(t, dir)[1])
	work := t.TempDir()
	r, err := w.adopt(dir, work)
	if err != nil || r.Outcome != Incomplete || len(r.Classes["vpn"].Damages) != 1 {
		t.Fatalf("%v %s", err, r.JSON())
	}
	x := r.Classes["vpn"].Damages[0]
	if len(x.Files) != 1 || x.Files[0] != segments(t, dir)[1] {
		t.Errorf("it names %v", x.Files)
	}
	in, err := spool.Inspect(dir)
	if err != nil || !in.Adopted.IsZero() {
		t.Fatalf("%+v %v", in, err)
	}
	if err := spool.GiveUp(dir, x.Segment, x.Ranges); err != nil {
		t.Fatal(err)
	}
	if r, err = w.adopt(dir, work); err != nil || r.Outcome != Delivered {
		t.Fatalf("%v %s", err, r.JSON())
	}
	if in, err = spool.Inspect(dir); err != nil || in.Adopted.IsZero() {
		t.Fatalf("%+v %v", in, err)
	}
}
