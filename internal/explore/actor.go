package explore

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// ErrDead is what a dead actor's operations return: none of them has an effect any more.
var ErrDead = errors.New("explore: this host is dead")

// Step is what an actor is about to do that others can see.
type Step struct {
	Place  string // what it touches
	Change bool   // false: it only looks
	Local  bool   // nobody else can see it
	// As names what the place holds after a change, if that is known: two changes to the same thing commute.
	As string
}

// dependent reports whether the order of two steps of different actors can matter.
func (s Step) dependent(o Step) bool {
	switch {
	case s.Local || o.Local:
		return false
	case s == passing || o == passing:
		return true
	case s.Place != o.Place || !s.Change && !o.Change:
		return false
	}
	return !(s.Change && o.Change && s.As != "" && s.As == o.As)
}

// passing is the step of an actor that waits for time to pass.
var passing = Step{Place: "time passes", Change: true}

// Point is a place in an actor's turn where it can die.
type Point struct {
	Label string // what was about to happen, or had just happened
	Fate  int    // the way it dies: below Run.Fates
}

// Actor is one host: a sequence of lives.
type Actor struct {
	Name string

	run     *Run
	stirred chan struct{} // it waits at a gate, or has ended

	// Guarded by run.mu.
	life    *Life
	turn    int
	waiting []*gate
	points  []Point // passed in this turn
	doom    int     // at which of them it dies, from 1; 0 for none
	ended   bool
}

// Life is one process of an actor, from its start to its death or its end.
type Life struct {
	a    *Actor
	die  func(fate int)
	dead chan struct{}
	gone bool // guarded by run.mu, as is a.life
}

// gate is where a step waits for its turn.
type gate struct {
	step Step
	turn int
	open chan struct{}
}

// Begin starts a new process, when it is its turn. die is called at the moment of its death, before any further operation
// returns: it takes what the crash leaves. It must not block.
func (a *Actor) Begin(die func(fate int)) *Life {
	l := &Life{a: a, die: die, dead: make(chan struct{})}
	a.run.mu.Lock()
	a.life = l
	if a.run.over {
		l.kill()
	}
	a.run.mu.Unlock()
	_ = l.wait(context.Background(), Step{Place: a.Name + " starts", Local: true}) // nobody else sees it
	return l
}

// Dead is closed when the process has died.
func (l *Life) Dead() <-chan struct{} { return l.dead }

// kill is called with run.mu held.
func (l *Life) kill() {
	if !l.gone {
		l.gone = true
		close(l.dead)
	}
}

// Before waits until it is this step's turn. If it returns an error, the step must not happen. A step that only looks is no
// point to die at: a host that dies there leaves the same as one that dies at the next change.
func (l *Life) Before(ctx context.Context, s Step) error {
	if err := l.wait(ctx, s); err != nil || !s.Change {
		return err
	}
	return l.Point("before " + s.Place)
}

func (l *Life) wait(ctx context.Context, s Step) error {
	a := l.a
	g := &gate{step: s, open: make(chan struct{})}
	a.run.mu.Lock()
	if l.gone {
		a.run.mu.Unlock()
		return ErrDead
	}
	g.turn = a.turn
	a.waiting = append(a.waiting, g)
	a.run.mu.Unlock()
	a.stir()
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
	case <-l.dead:
	}
	a.run.mu.Lock()
	defer a.run.mu.Unlock()
	a.waiting = slices.DeleteFunc(a.waiting, func(o *gate) bool { return o == g })
	if l.gone {
		return ErrDead
	}
	return ctx.Err()
}

// Do waits until it is the turn of a step that nobody else can see.
func (l *Life) Do(what string) error {
	if err := l.wait(context.Background(), Step{Place: what, Local: true}); err != nil {
		return err
	}
	return l.Point(what)
}

// After is called when a step has happened. An error means that its result never arrives.
func (l *Life) After(s Step) error {
	if s.Change {
		return l.Point("after " + s.Place)
	}
	return l.alive()
}

func (l *Life) alive() error {
	select {
	case <-l.dead:
		return ErrDead
	default:
		return nil
	}
}

// Point is a point at which the actor can die, in any of the ways given; of all if none is given. An error means that it
// is dead.
func (l *Life) Point(label string, fates ...int) error {
	a := l.a
	a.run.mu.Lock()
	defer a.run.mu.Unlock()
	if l.gone {
		return ErrDead
	}
	for fate := range a.run.Fates {
		if len(fates) > 0 && !slices.Contains(fates, fate) {
			continue
		}
		a.points = append(a.points, Point{label, fate})
		if len(a.points) == a.doom {
			l.die(fate)
			l.kill()
			return ErrDead
		}
	}
	return nil
}

// stir wakes the run if it waits for this actor.
func (a *Actor) stir() {
	select {
	case a.stirred <- struct{}{}:
	default:
	}
}

// Order is how an actor orders its own steps where several of its goroutines wait at gates. It depends on nothing but the
// actor's own past, so that an actor is one sequence of steps.
type Order int

// The orders.
const (
	Oldest Order = iota // first come, first served
	Up                  // by place: one part of the actor runs far ahead
	Down                // and the other one does
)

// first returns the gate that is next. run.mu is held.
func (a *Actor) first() *gate {
	if len(a.waiting) == 0 {
		return nil
	}
	return slices.MinFunc(a.waiting, func(x, y *gate) int {
		places := cmp.Compare(x.step.Place, y.step.Place)
		switch a.run.Order {
		case Up:
			return places
		case Down:
			return -places
		}
		return cmp.Or(cmp.Compare(x.turn, y.turn), places)
	})
}

// next returns the step that comes next; nil if the actor has ended. run.mu is held.
func (a *Actor) next() *Step {
	if a.ended {
		return nil
	}
	if g := a.first(); g != nil {
		return &g.step
	}
	return &passing
}
