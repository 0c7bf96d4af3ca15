package explore

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// ErrDead is returned by all operations of a dead actor. They have no effect any more.
var ErrDead = errors.New("explore: this host is dead")

// Step is an operation that an actor is about to perform and that other actors may observe.
type Step struct {
	Place  string // what the step accesses
	Change bool   // false: the step only reads
	Local  bool   // no other actor can observe the step
	// As names the contents of the place after a change, if they are known: two changes to the same contents commute.
	As string
}

// dependent reports whether the order of two steps of different actors may matter.
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
	Label string // what was about to happen, or has just happened
	Fate  int    // the way in which it dies; less than Run.Fates
}

// Actor is one host: a sequence of lives.
type Actor struct {
	Name string

	run     *Run
	stirred chan struct{} // signals that the actor waits at a gate, or has ended

	// Guarded by run.mu.
	life    *Life
	turn    int
	waiting []*gate
	points  []Point // passed in this turn
	doom    int     // the number of the point at which it dies, from 1; 0: none
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

// Begin starts a new process when it is the actor's turn. die is called at the moment of the process's death, before any
// further operation returns, to capture the state that the crash leaves. It must not block.
func (a *Actor) Begin(die func(fate int)) *Life {
	l := &Life{a: a, die: die, dead: make(chan struct{})}
	a.run.mu.Lock()
	a.life = l
	if a.run.over {
		l.kill()
	}
	a.run.mu.Unlock()
	_ = l.wait(context.Background(), Step{Place: a.Name + " starts", Local: true}) // no other actor can observe it
	return l
}

// Dead returns a channel that is closed when the process dies.
func (l *Life) Dead() <-chan struct{} { return l.dead }

// kill marks the process as dead. run.mu is held.
func (l *Life) kill() {
	if !l.gone {
		l.gone = true
		close(l.dead)
	}
}

// Before waits until it is this step's turn. If it returns an error, the step must not be performed. An actor cannot die at a
// step that only reads: that death would leave the same state as a death at the next change.
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

// Do waits for the turn of a step that no other actor can observe.
func (l *Life) Do(what string) error {
	if err := l.wait(context.Background(), Step{Place: what, Local: true}); err != nil {
		return err
	}
	return l.Point(what)
}

// After must be called after a step. An error means that the result of the step never arrives.
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

// Point is a point at which the actor can die with any of the fates given, or with every fate if none is given. An error means
// that the actor is dead.
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

// Order is the order in which an actor's own steps are performed when several of its goroutines wait at gates. It depends only
// on the actor's own past, so that an actor is one sequence of steps.
type Order int

// The orders.
const (
	Oldest Order = iota // first come, first served
	Up                  // by place: one part of the actor runs far ahead
	Down                // by place in reverse: the other part does
)

// first returns the gate that opens next. run.mu is held.
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

// next returns the actor's next step; nil if the actor has ended. run.mu is held.
func (a *Actor) next() *Step {
	if a.ended {
		return nil
	}
	if g := a.first(); g != nil {
		return &g.step
	}
	return &passing
}
