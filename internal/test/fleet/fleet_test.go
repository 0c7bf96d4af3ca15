//go:build linux

package fleet

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	formName = flag.String("fleet.form", "ci", "ci, short or long")
	seedFlag = flag.Uint64("fleet.seed", 0, "of all decisions; 0 draws one")
	scale    = flag.Float64("fleet.scale", 0, "divide the times of the platform by this; 0: as the form has it; 1: the times of AWS")
	outDir   = flag.String("fleet.out", "", "write the page and the picture of the run into this directory")
)

// TestFleet plays the scenario, and judges it.
func TestFleet(t *testing.T) {
	if *seedFlag == 0 {
		// The inner process gets the flags of this one.
		*seedFlag = rand.Uint64N(1_000_000) + 1
		os.Args = append(os.Args, "-fleet.seed", formatSeed(*seedFlag))
	}
	if !inside(t) {
		return
	}
	form, ok := forms[*formName]
	if !ok {
		t.Fatalf("-fleet.form %q: ci, short or long", *formName)
	}
	if *scale > 0 {
		form.Rules = unscaled.by(*scale)
	}
	plan := newPlan(*seedFlag, form)
	t.Logf("form %s, times of the platform divided by %g, seed %d: %v", form.Name, form.Rules.Scale, plan.Seed, plan)
	s, err := newStage(Setup{
		Rules: form.Rules, HashSeed: plan.HashSeed, Line: form.Line, VolumeBytes: 4 << 30, Spool: form.Spool, Logf: t.Logf,
	})
	t.Cleanup(s.Close)
	if err != nil {
		t.Fatal(err)
	}
	r := &Run{Stage: s, form: form, plan: plan, events: map[string]int{}, watch: &Watch{stage: s, samples: map[int][]Sample{}}}
	t.Cleanup(func() {
		if t.Failed() {
			r.keepLogs(t, *outDir)
		}
	})
	if err := r.play(t.Context()); err != nil {
		t.Fatalf("seed %d: %v", plan.Seed, err)
	}
	t.Logf("%6.1f s the verdict", time.Since(s.began).Seconds())
	v, err := s.judge(r.feeds, r.probe)
	if err != nil {
		t.Fatalf("seed %d: %v", plan.Seed, err)
	}
	r.judgeRun(v)
	for _, c := range v.Checks {
		if !c.OK {
			t.Errorf("seed %d: %s: %s", plan.Seed, c.What, c.Detail)
		}
	}
	for _, line := range r.summary(v) {
		t.Log(line)
	}
	if *outDir != "" {
		if err := r.write(*outDir, v); err != nil {
			t.Error(err)
		}
	}
}

// keepLogs copies the collectors' logs out of the stage, whose disks nobody sees afterwards, and prints their errors.
func (r *Run) keepLogs(t *testing.T, dir string) {
	for _, srv := range r.all() {
		b, err := os.ReadFile(srv.logFile())
		if err != nil {
			t.Log(err)
			continue
		}
		n := 0
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "level=ERROR") && n < 20 {
				t.Logf("%v: %s", srv, line)
				n++
			}
		}
		if dir != "" {
			name := filepath.Join(dir, fmt.Sprintf("fleet-%s-%d-server-%d.log", r.form.Name, r.plan.Seed, srv.slot))
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Log(err)
			}
		}
	}
}
