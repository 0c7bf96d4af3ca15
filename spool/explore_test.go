package spool_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/explore"
)

var (
	exploreHosts    = flag.String("explore.hosts", "", "chain protocol: these hosts only, as owner+copy; default each pair")
	exploreOrder    = flag.Int("explore.order", 0, "chain protocol: how a host orders its own steps: 0 oldest first, 1 idc first, 2 s3 first")
	exploreSwitches = flag.Int("explore.switches", 1, "chain protocol: how often a host waits for another in a run; -1: as often as can matter")
	exploreDeaths   = flag.Int("explore.deaths", 0, "chain protocol: how many hosts die in a run")
	exploreTime     = flag.Duration("explore.time", 0, "chain protocol: end the search of a pair after this time")
	exploreSeeds    = flag.Int("explore.seeds", 10, "chain protocol: random runs of all hosts with deaths")
	exploreActive   = flag.Bool("explore.active", false, "chain protocol: the volumes were copied while a segment was being written")
	exploreReplay   = flag.String("explore.replay", "", "chain protocol: repeat one run, step by step, as owner+copy:0,0,1")
)

// TestExploreChains lets every two of owner, copies, restored snapshot and adopters of one volume meet. Each of the two is
// stopped at each of its steps in turn, while the other goes on to its end. With -explore.switches -1 every interleaving is
// tried that can make a difference, with -explore.deaths 1 a death between any two steps.
func TestExploreChains(t *testing.T) {
	t.Parallel()
	if *exploreReplay != "" {
		t.Skip("one run is repeated: see TestExploreReplay")
	}
	for _, x := range []*history{makeHistory(t, false), makeHistory(t, true)} {
		t.Run(x.String(), x.exploreChains)
	}
}

func (x *history) exploreChains(t *testing.T) {
	for _, names := range pairs() {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			s := explore.NewSearch(*exploreDeaths)
			s.Switches = *exploreSwitches
			r := &report{active: x.active, names: names}
			began, told := time.Now(), time.Now()
			for s.More() && (*exploreTime == 0 || time.Since(began) < *exploreTime) {
				run, faults := x.play(t, names, s)
				s.Learn(run)
				r.add(run, faults)
				if time.Since(told) > time.Minute {
					told = time.Now()
					t.Logf("%d runs, %d of them cut short, %v", s.Runs, s.Cut, time.Since(began).Round(time.Second))
				}
			}
			r.check(t)
			t.Logf("%d runs, %d of them cut short, the longest with %d turns, %v; complete: %v",
				s.Runs, s.Cut, r.longest, time.Since(began).Round(time.Millisecond), !s.More())
		})
	}
}

// TestExploreRandom lets all of them meet, some of which die.
func TestExploreRandom(t *testing.T) {
	if *exploreReplay != "" {
		t.Skip("one run is repeated: see TestExploreReplay")
	}
	var names []string
	for _, role := range roles {
		names = append(names, role.name)
	}
	for _, x := range []*history{makeHistory(t, false), makeHistory(t, true)} {
		t.Run(x.String(), func(t *testing.T) {
			r := &report{active: x.active, names: names}
			for seed := range *exploreSeeds {
				r.add(x.play(t, names, explore.NewRandom(uint64(seed), seed%4)))
			}
			r.check(t)
			t.Logf("the longest of %d runs has %d turns", *exploreSeeds, r.longest)
		})
	}
}

// TestExploreReplay repeats the run of -explore.replay.
func TestExploreReplay(t *testing.T) {
	if *exploreReplay == "" {
		t.Skip("no run is given with -explore.replay")
	}
	hosts, code, _ := strings.Cut(*exploreReplay, ":")
	names := strings.Split(hosts, "+")
	replay, err := explore.ParseReplay(code)
	if err != nil {
		t.Fatal(err)
	}
	run, faults := makeHistory(t, *exploreActive).play(t, names, replay)
	for i, turn := range run.Turns {
		death := ""
		if n := turn.Death; n > 0 && n <= len(turn.Points) {
			death = ", where it dies, " + [...]string{killed: "killed", cut: "power cut"}[turn.Points[n-1].Fate] + ", at: " + turn.Points[n-1].Label
		}
		t.Logf("%3d %s %-8s %s%s", i, turn.At.Format("15:04:05"), names[turn.Actor], turn.Step().Place, death)
	}
	for _, f := range faults {
		t.Errorf("%s: %s", f.kind, f.detail)
	}
}

// pairs returns every two roles, or those that were asked for.
func pairs() (all [][]string) {
	if *exploreHosts != "" {
		return [][]string{strings.Split(*exploreHosts, "+")}
	}
	for j := range roles {
		for i := range j {
			// The two adopters differ in their names alone.
			if roles[j].name != "adopter2" || roles[i].name == "adopter1" {
				all = append(all, []string{roles[i].name, roles[j].name})
			}
		}
	}
	return all
}

// play makes one run and judges it. A run that the scheduler has ended has nothing to be judged.
func (x *history) play(t *testing.T, names []string, s explore.Scheduler) (run *explore.Run, faults []fault) {
	synctest.Test(t, func(t *testing.T) {
		run = &explore.Run{Fates: fates, Order: explore.Order(*exploreOrder)}
		w := x.begin(run, names)
		err := run.Play(s)
		if errors.Is(err, explore.ErrStopped) {
			return
		}
		if err != nil {
			faults = append(faults, fault{"endless", err.Error()})
		}
		faults = append(faults, w.judge(t.Context())...)
	})
	return run, faults
}

// report sums up the faults of many runs: of each kind, the run that is easiest to read.
type report struct {
	active  bool
	names   []string
	longest int
	worst   map[string]*example
}

type example struct {
	runs, weight int
	code         string
	details      []string
}

func (r *report) add(run *explore.Run, faults []fault) {
	r.longest = max(r.longest, len(run.Turns))
	if r.worst == nil {
		r.worst = map[string]*example{}
	}
	seen := map[string]bool{}
	for _, f := range faults {
		e := r.worst[f.kind]
		if e == nil {
			e = &example{weight: 1 << 30}
			r.worst[f.kind] = e
		}
		if !seen[f.kind] {
			seen[f.kind] = true
			e.runs++
			if n := weight(run.Turns); n < e.weight {
				e.weight, e.code, e.details = n, explore.Code(run.Turns), nil
			}
		}
		if e.weight == weight(run.Turns) && len(e.details) < 4 {
			e.details = append(e.details, f.detail)
		}
	}
}

// weight says how hard a run is to read: its deaths, then its switches, then its length.
func weight(turns []explore.Turn) (n int) {
	for i, t := range turns {
		n++
		if i > 0 && turns[i-1].Actor != t.Actor {
			n += 1000
		}
		if t.Death > 0 {
			n += 10000
		}
	}
	return n
}

func (r *report) check(t *testing.T) {
	for _, kind := range slices.Sorted(maps.Keys(r.worst)) {
		e := r.worst[kind]
		text := fmt.Sprintf("%s in %d runs; repeat one with\n  go test ./spool -v -run ExploreReplay -explore.order %d -explore.active=%v -explore.replay %s:%s\n  %s",
			kind, e.runs, *exploreOrder, r.active, strings.Join(r.names, "+"), e.code, strings.Join(e.details, "\n  "))
		t.Error(text)
	}
}
