package main

import "sync"

// group is the simplest group commit: the first caller writes the batches of all callers that arrive before it begins. All
// others wait for the round that contains their batch.
type group struct {
	commit func(batches [][][]byte) error // one write and one sync, by one goroutine at a time

	mu   sync.Mutex
	busy bool
	next *round // collects the batches that arrive meanwhile
}

// round is one commit.
type round struct {
	batches [][][]byte
	done    *sync.Cond
	over    bool
	err     error
}

func newGroup(commit func([][][]byte) error) *group {
	g := &group{commit: commit}
	g.next = g.newRound()
	return g
}

func (g *group) newRound() *round { return &round{done: sync.NewCond(&g.mu)} }

func (g *group) append(batch [][]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.next
	r.batches = append(r.batches, batch)
	for !r.over && g.busy {
		r.done.Wait()
	}
	if r.over {
		return r.err
	}
	g.busy = true
	g.next = g.newRound()
	g.mu.Unlock()
	err := g.commit(r.batches)
	g.mu.Lock()
	r.over, r.err, g.busy = true, err, false
	r.done.Broadcast()
	g.next.done.Signal() // one of the waiting callers commits the next round
	return err
}
