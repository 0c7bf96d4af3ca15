package explore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toy is a system of small programs over shared registers. Each step adds one to a register, or reads one. The value read
// determines whether a register is written later, so that the steps of a program depend on the order.
type toy struct {
	programs [][]Step
	rest     []time.Duration // how long each program sleeps before its last step
}

// outcome is the complete result of a run: the values that every program has read, and the registers.
func (x *toy) run(t *testing.T, s Scheduler) (r *Run, outcome string, err error) {
	synctest.Test(t, func(t *testing.T) {
		r = &Run{Fates: 1}
		registers := map[string]int{}
		read := make([]string, len(x.programs))
		for i, program := range x.programs {
			r.Go(fmt.Sprint("p", i), func(a *Actor) {
				begun := 0
				for ended := false; !ended; {
					l := a.Begin(func(int) {})
					ended = true
					for ; begun < len(program); begun++ {
						if x.rest != nil && begun == len(program)-1 && !a.Sleep(x.rest[i]) {
							return
						}
						step := program[begun]
						if l.Before(context.Background(), step) != nil {
							ended = false
							break
						}
						switch {
						case !step.Change:
							read[i] += fmt.Sprint(registers[step.Place])
						default:
							registers[step.Place] = registers[step.Place]*3 + i + len(read[i])
						}
						if l.After(step) != nil {
							ended = false
							break
						}
					}
					select {
					case <-a.Over():
						return
					default:
					}
				}
			})
		}
		err = r.Play(s)
		var b strings.Builder
		for _, place := range slices.Sorted(maps.Keys(registers)) {
			fmt.Fprint(&b, place, registers[place], " ")
		}
		outcome = fmt.Sprint(b.String(), read)
	})
	return r, outcome, err
}

// TestSearchMissesNothing: for random systems, the reduced search finds every possible outcome, in fewer runs.
func TestSearchMissesNothing(t *testing.T) {
	for seed := range uint64(48) {
		rng := rand.New(rand.NewPCG(seed, 0))
		x := &toy{}
		hosts := 2 + int(seed)%2
		for range hosts {
			var program []Step
			for range 1 + rng.IntN(5-hosts) {
				program = append(program, Step{Place: string(rune('a' + rng.IntN(3))), Change: rng.IntN(2) == 0})
			}
			x.programs = append(x.programs, program)
			if seed%4 == 0 {
				x.rest = append(x.rest, time.Duration(1+rng.IntN(3))*time.Second)
			}
		}
		deaths := 0
		if seed%3 == 0 && len(x.programs) == 2 {
			deaths = 1
		}
		all, reduced := x.outcomes(t, deaths, 1000), x.outcomes(t, deaths, -1)
		if !maps.Equal(all.seen, reduced.seen) {
			t.Errorf("seed %d: %v: %d outcomes of %d", seed, x.programs, len(reduced.seen), len(all.seen))
		}
		if reduced.runs > all.runs {
			t.Errorf("seed %d: %v: %d runs, without reduction %d", seed, x.programs, reduced.runs, all.runs)
		}
		if t.Failed() {
			return
		}
	}
}

type outcomes struct {
	seen map[string]bool
	runs int
}

func (x *toy) outcomes(t *testing.T, deaths, switches int) outcomes {
	o := outcomes{seen: map[string]bool{}}
	s := NewSearch(deaths)
	s.Switches = switches
	for s.More() {
		run, outcome, err := x.run(t, s)
		s.Learn(run)
		switch err {
		case nil:
			o.seen[outcome] = true
		case ErrStopped:
		default:
			t.Fatal(err)
		}
	}
	o.runs = s.Runs + s.Cut
	return o
}

// TestReplay: the result of Code repeats a run, including deaths.
func TestReplay(t *testing.T) {
	x := &toy{programs: [][]Step{{{Place: "a", Change: true}, {Place: "b"}}, {{Place: "b", Change: true}, {Place: "a"}}}}
	for seed := range uint64(50) {
		run, outcome, err := x.run(t, NewRandom(seed, 2))
		if err != nil {
			t.Fatal(err)
		}
		code := Code(run.Turns)
		replay, err := ParseReplay(code)
		if err != nil {
			t.Fatal(err)
		}
		again, same, err := x.run(t, replay)
		if err != nil || same != outcome || Code(again.Turns) != code {
			t.Fatalf("%s gave %s, and then %s gave %s: %v", code, outcome, Code(again.Turns), same, err)
		}
	}
	for _, bad := range []string{"x", "0,,1", "-1", "1*", "*2", "0*-1"} {
		if _, err := ParseReplay(bad); err == nil {
			t.Errorf("%q is taken for a list of choices", bad)
		}
	}
}

// TestEnds: a run without progress ends with an error.
func TestEnds(t *testing.T) {
	step := Step{Place: "a", Change: true}
	for name, c := range map[string]struct {
		main func(*Actor)
		want error
	}{
		"endless": {func(a *Actor) {
			for l := a.Begin(nil); l.Before(context.Background(), step) == nil; {
			}
		}, ErrEndless},
		"stuck": {func(a *Actor) { <-a.Over() }, ErrStuck},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &Run{Fates: 1}
			r.Go(name, c.main)
			if err := r.Play(Replay(nil)); err != c.want {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		})
	}
}
