package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	oneSeed    = flag.Uint64("sim.seed", 0, "run this seed only, reduce it if it fails, and print its log with -v")
	fromSeed   = flag.Uint64("sim.from", 1, "the first seed")
	seeds      = flag.Uint64("sim.seeds", 60, "how many seeds")
	eventsFile = flag.String("sim.events", "", "run the events in this file")
	onlyKind   = flag.String("sim.kind", "", "with sim.seed: reduce only failures whose kind has this in it")
	collect    = flag.Bool("sim.collect", false, "go on after failures, and reduce the first of each kind")
)

// TestMain uses one processor and collects no garbage in the middle of a life (see run): goroutines then nearly always run in
// the same order, so that a life is reproducible.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 30)
	goleak.VerifyTestMain(m)
}

// TestSim runs worlds; see the package documentation.
func TestSim(t *testing.T) {
	switch {
	case *eventsFile != "":
		f, err := os.Open(*eventsFile)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		events, err := parse(f)
		if err != nil {
			t.Fatal(err)
		}
		report(t, *eventsFile, events)
	case *oneSeed != 0:
		report(t, fmt.Sprintf("seed %d", *oneSeed), draw(*oneSeed))
	default:
		sweep(t)
	}
}

// failed are seeds, in addition to those that every run tries, each of which has found a bug that is now fixed.
var failed = []uint64{390, 1151, 3090, 3208, 3270, 3867, 3949, 4692, 4973, 6636, 7479, 8333, 9599, 13643, 13803, 16947, 18543, 19562, 30283, 30861, 32977, 45506, 46465, 48412, 48961, 54679, 57636, 61605, 68748, 72804, 73335, 73886, 74988, 77171, 79377}

// sweep runs many seeds, one per processor at a time.
func sweep(t *testing.T) {
	var mu sync.Mutex
	found := map[string][]uint64{} // seeds by kind of failure
	began, done := time.Now(), uint64(0)
	t.Run("seeds", func(t *testing.T) {
		var todo []uint64
		for seed := *fromSeed; seed < *fromSeed+*seeds; seed++ {
			todo = append(todo, seed)
		}
		if *fromSeed == 1 {
			todo = append(todo, failed...)
		}
		for _, seed := range todo {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				failures, told := run(t, draw(seed), nil)
				t.Logf("seed %d: %s", seed, told)
				mu.Lock()
				defer mu.Unlock()
				if done++; done%1000 == 0 {
					fmt.Fprintf(os.Stderr, "sim: %d of %d seeds from %d on, %v, %d kinds of failures\n", done, *seeds, *fromSeed, time.Since(began).Round(time.Second), len(found))
				}
				for _, kind := range kinds(failures) {
					found[kind] = append(found[kind], seed)
				}
				if len(failures) > 0 && !*collect {
					t.Errorf("seed %d: %s", seed, list(failures))
				}
			})
		}
	})
	failing := map[uint64]bool{}
	for _, kind := range slices.Sorted(maps.Keys(found)) {
		all := found[kind]
		for _, seed := range all {
			failing[seed] = true
		}
		slices.Sort(all)
		t.Logf("%d seeds, the first %v: %s", len(all), all[:min(len(all), 10)], kind)
		if !*collect {
			reduce(t, fmt.Sprintf("seed %d", all[0]), draw(all[0]), kind)
		} else {
			t.Fail()
		}
	}
	t.Logf("%d of %d seeds fail in %d ways: %v", len(failing), *seeds, len(found), slices.Sorted(maps.Keys(failing)))
}

// report runs one list and prints everything about it.
func report(t *testing.T, name string, events []Event) {
	var logs *syncBuffer
	if testing.Verbose() {
		logs = &syncBuffer{}
	}
	failures, told := run(t, events, logs)
	t.Logf("%s:\n%s%s\n%s", name, show(events), told, list(failures))
	if logs != nil {
		t.Logf("the log:\n%s", logs.b.String())
	}
	for _, kind := range kinds(failures) {
		if strings.Contains(kind, *onlyKind) {
			reduce(t, name, events, kind)
		}
	}
	if len(failures) > 0 {
		t.Fail()
	}
}

// reduce prints the shortest list that fails as this one.
func reduce(t *testing.T, name string, events []Event, kind string) {
	runs := 0
	short := shrink(events, func(events []Event) bool {
		runs++
		failures, _ := run(t, events, nil)
		return slices.Contains(kinds(failures), kind)
	})
	failures, told := run(t, short, nil)
	t.Logf("%s, reduced in %d runs for %q:\n%s%s\n%s", name, runs, kind, show(short), told, list(failures))
}

func kinds(failures []failure) (all []string) {
	for _, f := range failures {
		all = append(all, f.kind)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func list(failures []failure) string {
	var b strings.Builder
	for _, f := range failures {
		fmt.Fprintf(&b, "  %s\n      %s\n", f.kind, cut(f.detail, 600))
	}
	return b.String()
}

func cut(s string, n int) string { return s[:min(n, len(s))] }
