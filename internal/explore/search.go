package explore

import "fmt"

// Search makes its choices in a series of runs, so that together the runs try every order of steps that can make a difference.
//
//	for s := explore.NewSearch(deaths); s.More(); {
//		run := …
//		err := run.Play(s)
//		s.Learn(run)
//	}
type Search struct {
	// Runs counts the runs that were explored to their end, Cut those that turned out to be an earlier run in a different
	// order.
	Runs, Cut int

	// Switches, if not negative, bounds how often an actor has to wait although it could continue. All runs within that bound
	// are then explored: with such a bound, no run represents others.
	Switches int
	// Stalls bounds how often time passes for one actor while another could move. Without a bound, an actor that polls every
	// few seconds could do so forever. Default 2.
	Stalls int

	deaths int
	path   []*node // the choices of the next run
	cut    bool    // the present one is a repetition
}

// node is one choice on the path, with the state of its alternatives.
type node struct {
	next   []*Step
	sleep  actorSet // actors whose turn would lead to a run that was already explored
	done   actorSet // explored from here
	todo   actorSet // to be explored from here
	actor  int
	points []Point // where the actor can die in this turn
	tried  int     // the number of the point at which the actor dies
	known  bool    // points is set
	deaths int     // remaining

	last     int // the actor that moved before
	switches int // remaining
	stalls   int // so far
	barred   actorSet
}

// actorSet has a bit for each actor.
type actorSet uint

func (s actorSet) has(a int) bool      { return s&(1<<a) != 0 }
func (s actorSet) with(a int) actorSet { return s | 1<<a }
func (n *node) awake(a int) bool       { return n.next[a] != nil && !(n.sleep | n.done | n.barred).has(a) }

func (n *node) choice() Choice { return Choice{n.actor, n.tried} }

// NewSearch returns a search of all runs in which at most deaths actors die.
func NewSearch(deaths int) *Search { return &Search{deaths: deaths, Switches: -1, Stalls: 2} }

// Choose implements Scheduler.
func (s *Search) Choose(turns []Turn, next []*Step) (Choice, bool) {
	i := len(turns)
	if i < len(s.path) {
		if n := s.path[i]; !same(n.next, next) {
			panic(fmt.Sprintf("explore: a run does not repeat: choice %d was between %s, and is between %s", i, show(n.next), show(next)))
		}
		return s.path[i].choice(), true
	}
	n := &node{next: next, deaths: s.deaths, last: -1, switches: s.Switches}
	prefer := 0
	if i > 0 {
		parent := s.path[i-1]
		prefer = parent.actor
		n.last, n.switches, n.stalls = parent.actor, parent.left(), parent.stalls
		if *parent.next[parent.actor] == passing && ready(parent.next) != 0 {
			n.stalls++
		}
		if n.deaths = parent.deaths; parent.tried > 0 {
			n.deaths--
		}
		// If an actor could have moved at the parent, and its step commutes with the parent's, moving it now would only repeat
		// an explored run.
		step := *parent.next[parent.actor]
		for a := range next {
			if s.Switches < 0 && (parent.sleep | parent.done).has(a) && parent.next[a] != nil && !parent.next[a].dependent(step) {
				n.sleep = n.sleep.with(a)
			}
		}
	}
	if r := ready(next); n.stalls >= s.Stalls && r != 0 {
		n.barred = ^r
	}
	// The same actor continues if it can: the runs with the fewest switches come first, and are the easiest to read.
	n.actor = -1
	for k := range next {
		if a := (prefer + k) % len(next); n.awake(a) {
			n.actor = a
			break
		}
	}
	if n.actor < 0 {
		s.cut = true
		return Choice{}, false
	}
	// Before a step that no other actor can observe, no switch is needed: one after it has the same effect.
	if s.Switches >= 0 && (i == 0 || n.switches > 0 && (next[n.last] == nil || !next[n.last].Local)) {
		n.todo = ^actorSet(0)
	}
	s.path = append(s.path, n)
	return n.choice(), true
}

// ready returns the actors that need not wait for time to pass.
func ready(next []*Step) (s actorSet) {
	for a, step := range next {
		if step != nil && *step != passing {
			s = s.with(a)
		}
	}
	return s
}

// left returns how many switches are left after this node's choice.
func (n *node) left() int {
	if n.last >= 0 && n.actor != n.last && n.next[n.last] != nil {
		return n.switches - 1
	}
	return n.switches
}

// More reports whether there is another run.
func (s *Search) More() bool { return s.Runs+s.Cut == 0 || len(s.path) > 0 }

// Learn learns the races of a run, and prepares the next run.
func (s *Search) Learn(r *Run) {
	if s.cut {
		s.Cut++
	} else {
		s.Runs++
	}
	s.cut = false
	for i := range r.Turns {
		s.path[i].met(r.Turns[i].Points, i)
	}
	if s.Switches < 0 {
		for _, race := range races(r.Turns) {
			s.path[race.at].reverse(race)
		}
	}
	for len(s.path) > 0 && !s.path[len(s.path)-1].advance() {
		s.path = s.path[:len(s.path)-1]
	}
}

// reverse makes sure that the opposite order of a race is explored, too.
func (n *node) reverse(r race) {
	switch {
	case r.first&(n.todo|n.done).with(n.actor) != 0: // it has been or will be explored
	case r.first.has(r.actor):
		n.todo = n.todo.with(r.actor)
	default:
		n.todo |= r.first & -r.first // any of them suffices
	}
}

// met records the points at which the actor can die, or checks that they are the same as before.
func (n *node) met(points []Point, at int) {
	if !n.known {
		n.points, n.known = points, true
		return
	}
	for i, p := range points[:min(len(points), n.tried)] {
		if p != n.points[i] {
			panic(fmt.Sprintf("explore: a run does not repeat: point %d of turn %d was %v, and is %v", i+1, at, n.points[i], p))
		}
	}
}

// advance moves a node to its next alternative.
func (n *node) advance() bool {
	if n.deaths > 0 && n.tried < len(n.points) {
		n.tried++
		return true
	}
	n.done = n.done.with(n.actor)
	for a := range n.next {
		if n.todo.has(a) && n.awake(a) {
			n.actor, n.points, n.known, n.tried = a, nil, false, 0
			return true
		}
	}
	return false
}

func same(a, b []*Step) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || a[i] != nil && *a[i] != *b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

func show(next []*Step) (s string) {
	for _, n := range next {
		if n == nil {
			s += "[ended] "
		} else {
			s += "[" + n.Place + "] "
		}
	}
	return s
}
