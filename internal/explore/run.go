package explore

import (
	"errors"
	"slices"
	"sync"
	"testing/synctest"
	"time"
)

// Choice says which actor moves, and where in its turn it dies.
type Choice struct {
	Actor int
	Death int // the number of the Point in this turn at which it dies, from 1; 0: it survives
}

// Turn records what happened after one choice.
type Turn struct {
	Choice
	Next   []*Step   // by actor, before the turn; nil: the actor has ended
	Points []Point   // where the actor could have died, in order
	At     time.Time // when
}

// Step returns what the turn's actor did.
func (t *Turn) Step() Step { return *t.Next[t.Actor] }

// Scheduler makes the choices of a run.
type Scheduler interface {
	// Choose returns which actor moves next; ok is false if the run must stop. next contains the next step of each actor, nil
	// if it has ended; at least one has not.
	Choose(turns []Turn, next []*Step) (c Choice, ok bool)
}

// Run is one run of several actors, all in one bubble of testing/synctest.
type Run struct {
	// Fates is the number of ways in which an actor can die.
	Fates int
	// Order is the order of each actor's own steps.
	Order Order
	// MaxTurns ends a run that would not end; default 2,000.
	MaxTurns int
	// Turns is what has happened.
	Turns []Turn

	mu     sync.Mutex
	actors []*Actor
	over   bool
	done   chan struct{} // closed when over
	wg     sync.WaitGroup
}

// The errors of a run that ends before its actors do.
var (
	ErrStopped = errors.New("explore: the scheduler has ended the run")
	ErrEndless = errors.New("explore: the run does not end")
	ErrStuck   = errors.New("explore: an actor waits for something that never comes")
)

// Go adds an actor with the main function main. main must return when Over is closed.
func (r *Run) Go(name string, main func(a *Actor)) {
	if r.done == nil {
		r.done = make(chan struct{})
	}
	a := &Actor{Name: name, run: r, stirred: make(chan struct{}, 1)}
	r.actors = append(r.actors, a)
	r.wg.Go(func() {
		main(a)
		r.mu.Lock()
		a.ended = true
		r.mu.Unlock()
		a.stir()
	})
}

// Over returns a channel that is closed when the run ends before this actor: the actor must then end, too.
func (a *Actor) Over() <-chan struct{} { return a.run.done }

// Sleep waits for d. It returns false if the run is over.
func (a *Actor) Sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.run.done:
		return false
	}
}

// patience is the simulated time after which an actor that does nothing counts as stuck.
const patience = 48 * time.Hour

// Play runs the actors, in the order chosen by s, until all of them have ended. In every case it returns only after the main
// functions passed to Go have returned.
func (r *Run) Play(s Scheduler) error {
	if r.MaxTurns == 0 {
		r.MaxTurns = 2000
	}
	err := r.play(s)
	r.mu.Lock()
	r.over = true
	for _, a := range r.actors {
		if a.life != nil {
			a.life.kill()
		}
	}
	close(r.done)
	r.mu.Unlock()
	r.wg.Wait()
	return err
}

func (r *Run) play(s Scheduler) error {
	for {
		synctest.Wait()
		next := r.next()
		if next == nil {
			return nil
		}
		if len(r.Turns) >= r.MaxTurns {
			return ErrEndless
		}
		c, ok := s.Choose(r.Turns, next)
		if !ok {
			return ErrStopped
		}
		if !r.move(c) {
			return ErrStuck
		}
		a := r.actors[c.Actor]
		r.mu.Lock()
		points := a.points
		r.mu.Unlock()
		r.Turns = append(r.Turns, Turn{c, next, points, time.Now()})
	}
}

// next returns what each actor would do next; nil if all have ended.
func (r *Run) next() (next []*Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	alive := false
	for _, a := range r.actors {
		step := a.next()
		alive = alive || step != nil
		if step != nil {
			c := *step
			step = &c
		}
		next = append(next, step)
	}
	if !alive {
		return nil
	}
	return next
}

// move lets one actor run from one gate to the next. It returns false if the actor is stuck.
func (r *Run) move(c Choice) bool {
	a := r.actors[c.Actor]
	r.mu.Lock()
	a.turn++
	a.doom, a.points = c.Death, nil
	g := a.first()
	if g != nil {
		a.waiting = slices.DeleteFunc(a.waiting, func(o *gate) bool { return o == g })
	}
	select {
	case <-a.stirred: // an old signal
	default:
	}
	r.mu.Unlock()
	if g != nil {
		// No two hosts have the same clock, so times that they record must differ.
		time.Sleep(time.Microsecond)
		close(g.open)
		synctest.Wait()
		return true
	}
	// The actor waits for a timer. The clock advances when everything in the bubble waits, including this goroutine.
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-a.stirred:
	case <-t.C:
		return false
	}
	synctest.Wait()
	return true
}
