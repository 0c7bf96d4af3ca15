package explore

// race says that the turn at a place of a run and a later one do not commute, and that nothing between them keeps them in
// their order. To see them the other way round, one of the actors in first has to go at that place.
type race struct {
	at    int
	first actorSet
	actor int // of the later turn
}

// races returns the races of a run.
func races(turns []Turn) (all []race) {
	past := make([]bits, len(turns)) // what each turn depends on, directly or not
	for j := range turns {
		past[j] = newBits(len(turns))
		step := turns[j].Step()
		var with []int
		for i := j - 1; i >= 0; i-- {
			own := turns[i].Actor == turns[j].Actor
			if past[j].has(i) || !own && !step.dependent(turns[i].Step()) {
				continue
			}
			// The latest turns are looked at first, so that nothing between i and j depends on the one and is depended on by
			// the other.
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

// initials returns which actors can go first at i if everything after it that does not depend on it, and then turn j, is to happen
// without it: those of whom the first of these turns depends on no other of them (Abdulla et al., Optimal dynamic partial
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
