package explore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Code encodes a run as a list of small integers: for each turn the actor, plus the number of actors times Choice.Death.
// Repetitions are written with a count: 0*3,1 is 0,0,0,1.
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

// Replay repeats a run. After the end of the list, each actor continues as long as it can before the next actor moves.
type Replay []int

// ParseReplay parses the result of Code.
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

// sameAgain returns the actor that moved last or, if it has ended, the next one that has not.
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

// Random chooses randomly.
type Random struct {
	rng    *rand.Rand
	deaths int     // how many actors may still die
	death  float64 // the probability that an actor dies in a turn
	change float64 // the probability that another actor continues
}

// NewRandom returns a Scheduler that makes the same choices for the same seed. At most deaths actors die.
func NewRandom(seed uint64, deaths int) *Random {
	rng := rand.New(rand.NewPCG(seed, 0))
	return &Random{rng: rng, deaths: deaths, death: rng.Float64() / 10, change: rng.Float64()}
}

// maxPoint is the last point of a turn at which Random lets an actor die. If a turn has fewer points than chosen, the actor
// survives it.
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
