package explore

// race says that turn at of a run and a later turn do not commute, and that no dependency through turns between them fixes
// their order. To try the opposite order, one of the actors in first must move at turn at.
type race struct {
	at    int
	first actorSet
	actor int // the actor of the later turn
}

// races returns the races of a run.
func races(turns []Turn) (all []race) {
	past := make([]bits, len(turns)) // the turns on which each turn depends, directly or indirectly
	for j := range turns {
		past[j] = newBits(len(turns))
		step := turns[j].Step()
		var with []int
		for i := j - 1; i >= 0; i-- {
			own := turns[i].Actor == turns[j].Actor
			if past[j].has(i) || !own && !step.dependent(turns[i].Step()) {
				continue
			}
			// The latest turns are examined first: so no turn in between depends on i while j depends on that turn.
			past[j].add(i)
			past[j].union(past[i])
			if !own {
				with = append(with, i)
			}
		}
		for _, i := range with {
			all = append(all, race{i, initials(turns, past, i, j), turns[j].Actor})
		}
	}
	return all
}

// initials considers the turns after i that do not depend on turn i, followed by turn j. It returns the actors that can move
// first in this sequence: those whose first turn in it depends on no other turn in it (Abdulla et al., Optimal dynamic partial
// order reduction, POPL 2014, which calls this I(v)).
func initials(turns []Turn, past []bits, i, j int) (first actorSet) {
	var seen actorSet
	var rest []int
	for k := i + 1; k <= j; k++ {
		if k < j && past[k].has(i) {
			continue
		}
		free := !seen.has(turns[k].Actor)
		for _, m := range rest {
			free = free && !past[k].has(m)
		}
		if free {
			first = first.with(turns[k].Actor)
		}
		seen = seen.with(turns[k].Actor)
		rest = append(rest, k)
	}
	return first
}

// bits is a set of small numbers.
type bits []uint64

func newBits(n int) bits      { return make(bits, (n+63)/64) }
func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) add(i int)      { b[i/64] |= 1 << (i % 64) }

func (b bits) union(o bits) {
	for i := range b {
		b[i] |= o[i]
	}
}
