//go:build linux

package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

func formatSeed(n uint64) string { return strconv.FormatUint(n, 10) }

// judgeRun adds what concerns the scenario: that everything has happened, and that the isolated class was not disturbed.
func (r *Run) judgeRun(v *Verdict) {
	for _, event := range slices.Sorted(maps.Keys(wanted)) {
		v.check(r.events[event] >= wanted[event], "event: "+event, "happened %d times of %d", r.events[event], wanted[event])
	}
	var sent uint64
	for _, n := range v.Sent {
		sent += n
	}
	v.check(sent >= r.form.Records, "as many records as the form wants", "%d of %d", sent, r.form.Records)
	first := v.Sent[heavyName]
	share := float64(first) / float64(r.datagrams())
	v.check(share > 0.45 && share < 0.6, "one source sends half of all datagrams", "%d of %d, %.1f %%", first, r.datagrams(), 100*share)
	loaded, average, most := r.loaded()
	v.check(loaded >= r.form.Loaded && average >= r.form.Average && most >= r.form.Burst, "as many datagrams a second as the form wants",
		"%.0f/s over %v, in the busiest %v %.0f/s; wanted %.0f/s over %v, and %.0f/s", average, loaded.Round(time.Second), burst, most, r.form.Average, r.form.Loaded, r.form.Burst)
	// All servers and the balancers share the cores of one machine with the flood.
	quiet, n := r.probe.P99(r.quiet[0], r.quiet[1])
	flooded, m := r.probe.P99(r.flooded[0], r.flooded[1])
	machine, _ := r.machine.P99(r.flooded[0], r.flooded[1])
	v.check(n > 20 && m > 20 && flooded <= 3*max(quiet, machine)+100*time.Millisecond, "the isolated class waits no longer for durability in the flood",
		"99 %% of %d records are durable within %v, in the flood of %d within %v; a plain write and sync takes %v there",
		n, quiet.Round(10*time.Microsecond), m, flooded.Round(10*time.Microsecond), machine.Round(10*time.Microsecond))
}

// summary is the run in a few lines.
func (r *Run) summary(v *Verdict) (lines []string) {
	var sent, lost uint64
	for _, n := range v.Sent {
		sent += n
	}
	for _, n := range v.Dropped {
		lost += n
	}
	ok := 0
	for _, c := range v.Checks {
		if c.OK {
			ok++
		}
	}
	quiet, _ := r.probe.P99(r.quiet[0], r.quiet[1])
	flooded, _ := r.probe.P99(r.flooded[0], r.flooded[1])
	machine, _ := r.machine.P99(r.flooded[0], r.flooded[1])
	loaded, average, most := r.loaded()
	return []string{
		fmt.Sprintf("seed %d, form %s: %d of %d checks hold; the auditor says %s", r.plan.Seed, r.form.Name, ok, len(v.Checks), v.Audit.Verdict),
		fmt.Sprintf("%d records sent in %v by %d servers; %d datagrams dropped: %v", sent, r.ended.Sub(r.began).Round(time.Second), len(v.Servers), lost, v.Dropped),
		fmt.Sprintf("%.0f datagrams/s on average over %v, %.0f/s in the busiest %v", average, loaded.Round(time.Second), most, burst),
		fmt.Sprintf("the relays: %+v", v.Relays),
		fmt.Sprintf("the killed server: %d datagrams read and lost, by its own account at most %d; verified at both destinations %v after its death",
			v.Arrived, v.Bound, r.Recovered.Round(100*time.Millisecond)),
		fmt.Sprintf("the isolated class: 99 %% durable within %v, in the flood %v, where a plain write and sync takes %v",
			quiet.Round(100*time.Microsecond), flooded.Round(100*time.Microsecond), machine.Round(100*time.Microsecond)),
	}
}
