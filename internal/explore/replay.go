package explore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Code writes a run as a list of small integers: for each turn the actor, plus the number of actors times Choice.Death.
// Repetitions are counted: 0*3,1 is 0,0,0,1.
func Code(turns []Turn) string {
	var b strings.Builder
	for i := 0; i < len(turns); {
		n, times := code(turns[i]), 1
		for i++; i < len(turns) && code(turns[i]) == n; i++ {
			times++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(n))
		if times > 1 {
			fmt.Fprintf(&b, "*%d", times)
		}
	}
	return b.String()
}

func code(t Turn) int { return t.Actor + len(t.Next)*t.Death }

// Replay repeats a run. After the end of its list, each actor continues for as long as it can before the next one does.
type Replay []int

// ParseReplay reads what Code wrote.
func ParseReplay(code string) (r Replay, err error) {
	if code == "" {
		return nil, nil
	}
	for f := range strings.SplitSeq(code, ",") {
		choice, times, counted := strings.Cut(f, "*")
		n, err := strconv.ParseUint(choice, 10, 16)
		k := uint64(1)
		if counted && err == nil {
			k, err = strconv.ParseUint(times, 10, 16)
		}
		if err != nil {
			return nil, fmt.Errorf("explore: %q is not a list of choices", code)
		}
		r = append(r, slices.Repeat([]int{int(n)}, int(k))...)
	}
	return r, nil
}

// Choose implements Scheduler.
func (r Replay) Choose(turns []Turn, next []*Step) (Choice, bool) {
	c := Choice{}
	if i := len(turns); i < len(r) {
		c = Choice{r[i] % len(next), r[i] / len(next)}
	}
	if len(turns) >= len(r) || next[c.Actor] == nil {
		c = Choice{Actor: sameAgain(turns, next)}
	}
	return c, true
}

// sameAgain returns the actor that went last, or the next one that has not ended.
func sameAgain(turns []Turn, next []*Step) int {
	last := 0
	if len(turns) > 0 {
		last = turns[len(turns)-1].Actor
	}
	for next[last] == nil {
		last = (last + 1) % len(next)
	}
	return last
}

// Random chooses by chance.
type Random struct {
	rng    *rand.Rand
	deaths int     // that are left
	death  float64 // how likely a turn ends with one
	change float64 // how likely another actor continues
}

// NewRandom returns a Scheduler that makes the same choices for the same seed. At most so many actors die.
func NewRandom(seed uint64, deaths int) *Random {
	rng := rand.New(rand.NewPCG(seed, 0))
	return &Random{rng: rng, deaths: deaths, death: rng.Float64() / 10, change: rng.Float64()}
}

// maxPoint is up to which point of a turn Random lets an actor die. Few turns have so many; in one that has fewer, it lives.
const maxPoint = 24

// Choose implements Scheduler.
func (r *Random) Choose(turns []Turn, next []*Step) (Choice, bool) {
	c := Choice{Actor: sameAgain(turns, next)}
	if r.rng.Float64() < r.change {
		var alive []int
		for a, n := range next {
			if n != nil {
				alive = append(alive, a)
			}
		}
		c.Actor = alive[r.rng.IntN(len(alive))]
	}
	if r.deaths > 0 && r.rng.Float64() < r.death {
		r.deaths--
		c.Death = 1 + r.rng.IntN(maxPoint)
	}
	return c, true
}
