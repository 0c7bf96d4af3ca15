package sim

import (
	"flag"
	"regexp"
	"strings"
	"testing"
)

var again = flag.Int("sim.again", 0, "run each seed so often, and say how many lives differ from the seed's first one")

// TestReplay measures how exactly a seed replays: two lives are equal if their logs are, apart from random parts.
func TestReplay(t *testing.T) {
	if *again == 0 {
		t.Skip("without -sim.again")
	}
	lives, other := 0, 0
	for seed := *fromSeed; seed < *fromSeed+*seeds; seed++ {
		events := draw(seed)
		first := story(t, events)
		for range *again - 1 {
			lives++
			if line := differ(first, story(t, events)); line != "" {
				if other++; other <= 20 {
					t.Logf("seed %d: %s", seed, line)
				}
			}
		}
	}
	t.Logf("%d of %d lives differ from the first one of their seed", other, lives)
}

// random matches what differs in every life: spool ids, the hashes that depend on them, temporary names, and the numbers of
// worlds.
var random = regexp.MustCompile(`\b[0-9a-z]{26}\b|[0-9a-f]{16,}|/penstock-sim/[0-9]+|mem:[0-9]+-|\.[0-9]+\.tmp|digest.*`)

// story is the log of a life, and its result.
func story(t *testing.T, events []Event) []string {
	logs := &syncBuffer{}
	failures, told := run(t, events, logs)
	return strings.Split(random.ReplaceAllString(logs.b.String()+told+list(failures), "R"), "\n")
}

// differ returns the first line that differs between two stories, "" if there is none.
func differ(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return cut(a[i], 300) + "\n   and " + cut(b[i], 300)
		}
	}
	if len(a) != len(b) {
		return "one ends before the other"
	}
	return ""
}
