package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
)

func noFault(vfs.Op) error { return nil }

// TestRepairMatrix damages every file of a spool in every way and repairs it. The plan changes nothing. Apply does what the plan
// says, and loses no byte: the contents of each file are in a file afterwards. Then there is nothing left to
// repair, and a drain has the same result as without the repair: see TestDamageMatrix.
func TestRepairMatrix(t *testing.T) {
	for i, m := range []struct{ orderly, noIndex bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		var files []string
		synctest.Test(t, func(t *testing.T) { files = newMatrixScene(t, m.orderly, m.noIndex).files })
		for j, path := range files {
			for k, how := range slices.Sorted(maps.Keys(hurts)) {
				if !*damageAll && (j+k)%4 != (i+1)%4 {
					continue
				}
				name := fmt.Sprintf("orderly=%v noIndex=%v %s %s", m.orderly, m.noIndex, strings.TrimPrefix(path, "/spool/"), how)
				t.Run(name, func(t *testing.T) {
					dir := t.TempDir()
					synctest.Test(t, func(t *testing.T) {
						s := newMatrixScene(t, m.orderly, m.noIndex)
						if hurts[how](s, path) {
							s.repair(t)
							s.drain(t, dir)
						}
					})
				})
			}
		}
	}
}

// repair plans and applies a repair, and checks what is said above.
func (s *matrixScene) repair(t *testing.T) {
	t.Helper()
	before := s.snapshot()
	p, err := s.host.PlanRepair(noFault, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(before, s.snapshot(), bytes.Equal) {
		t.Error("a plan has changed files")
	}
	if p.Refused != "" {
		t.Fatalf("refused: %s", p.Refused)
	}
	kept, err := p.Apply()
	if err != nil {
		t.Fatalf("%+v: %v", p.Changes, err)
	}
	if (kept != "") != p.Needed() {
		t.Errorf("kept in %q, needed: %v", kept, p.Needed())
	}
	s.lostNothing(t, before)
	again, err := s.host.PlanRepair(noFault, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Needed() {
		t.Errorf("after the repair there is more to do: %+v, %+v", again.Changes, again.Findings)
	}
	if again.Records != p.Records || len(again.Damages) != len(p.Damages) {
		t.Errorf("the spool has %d records and damages %+v; the plan said %d, %+v", again.Records, again.Damages, p.Records, p.Damages)
	}
}

// lostNothing checks that the contents of each file are those of a file now.
func (s *matrixScene) lostNothing(t *testing.T, before map[string][]byte) {
	t.Helper()
	after := s.snapshot()
	for path, b := range before {
		if path == "/spool/LOCK" || len(b) == 0 {
			continue
		}
		found := bytes.Equal(after[path], b)
		for _, a := range after {
			found = found || bytes.Equal(a, b)
		}
		if !found {
			t.Errorf("the contents of %s are gone", path)
		}
	}
}

// TestRepairKilled kills a repair before each of its operations, by a power cut. Repeated, it comes to the same end.
func TestRepairKilled(t *testing.T) {
	for _, c := range []struct{ path, how string }{
		{"spool.json", "flip middle"}, {"seg/", "gone"}, {"seg/", "swapped"}, {"seg/", "zeroed page"}, {"chain/", "older"}, {"stage/", "flip middle"},
	} {
		t.Run(c.path+" "+c.how, func(t *testing.T) {
			for n := 1; ; n++ {
				var ended bool
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) { ended = repairKilledAt(t, n, c.path, c.how, dir) })
				if ended || t.Failed() {
					return
				}
				if !*damageAll {
					n += n / 8
				}
			}
		})
	}
}

// repairKilledAt reports whether the repair ended before its n-th operation.
func repairKilledAt(t *testing.T, n int, part, how, dir string) (ended bool) {
	s := newMatrixScene(t, false, false)
	hurt := false
	for _, path := range s.files {
		if strings.HasPrefix(path, "/spool/"+part) && !hurt {
			hurt = hurts[how](s, path)
		}
	}
	if !hurt {
		t.Fatalf("nothing is %s in %s", how, part)
	}
	s.host = s.host.Crash(vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept}) // the damage is on the disk
	before := s.snapshot()
	killed := errors.New("killed")
	dead := false
	p, err := s.host.PlanRepair(func(op vfs.Op) error {
		dead = dead || op.N >= n && op.Kind.Mutates()
		if dead && op.Kind.Mutates() {
			return killed
		}
		return nil
	}, nil)
	if err == nil {
		_, err = p.Apply()
	}
	if err == nil && !dead {
		ended = true
	}
	if !ended && n%2 == 0 {
		s.host = s.host.Crash(vfs.Crash{}) // a power cut
	}
	s.lostNothing(t, before)
	if p, err = s.host.PlanRepair(noFault, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(); err != nil {
		t.Fatalf("the second time: %v", err)
	}
	s.lostNothing(t, before)
	if p, err = s.host.PlanRepair(noFault, nil); err != nil || p.Needed() {
		t.Errorf("there is more to do: %v, %+v", err, p)
	}
	s.drain(t, dir)
	return ended
}

// TestRepairRefuses: nothing is done beside a process that has the spool open, nor if the spool has changed since the plan.
func TestRepairRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMatrixScene(t, false, false)
		p, err := s.host.PlanRepair(noFault, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.host.Files().Remove(s.files[len(s.files)-1])
		hurts["gone"](s, "/spool/seg/"+numberOf(s, 1))
		if _, err := p.Apply(); !errors.Is(err, spool.ErrPlan) {
			t.Errorf("a plan that is not true any more: %v", err)
		}
		sp, err := s.host.Open(noFault, nil, &spool.Options{Class: "vpn", Destinations: []string{"idc", "s3"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.host.PlanRepair(noFault, nil); !errors.Is(err, spool.ErrLocked) {
			t.Errorf("beside a process: %v", err)
		}
		if _, err := p.Apply(); !errors.Is(err, spool.ErrLocked) {
			t.Errorf("beside a process: %v", err)
		}
		if err := sp.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// numberOf returns the name of the i-th segment file.
func numberOf(s *matrixScene, i int) string {
	var names []string
	for _, f := range s.files {
		if name, ok := strings.CutPrefix(f, "/spool/seg/"); ok {
			names = append(names, name)
		}
	}
	return names[i]
}
