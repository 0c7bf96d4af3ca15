// Package explore runs a few hosts against each other and tries every order in which their steps can happen.
//
// Each host is an [Actor], which may have any number of goroutines, in one bubble of testing/synctest. An operation that other
// hosts can observe (a request to a shared place) waits at a gate ([Life.Before]). A [Run] opens one gate at a time and then
// waits until everything is blocked again, so that exactly one actor moves at any time. A run is therefore determined by the
// list of its choices. It can be replayed exactly, and ended by a crash at any step ([Life.Point]).
//
// A [Search] tries every order of steps that can make a difference, each once. [Random] chooses randomly, and a [Replay]
// repeats a list. They know nothing about what the hosts do; the caller checks the invariants after a run.
//
// # What is left out, and why that is sound
//
// Two steps commute if they access different places, or only read: their order changes neither the contents of the places nor
// what the actors learn. Runs that differ only in the order of such steps look the same to all actors, so one of them
// represents all (Mazurkiewicz traces). The search finds the steps that do not commute while it runs (dynamic partial-order
// reduction: Flanagan and Godefroid, POPL 2005) and tries them in the other order; sleep sets avoid repeated runs (Godefroid
// 1996). Passing time commutes with no observable step, since it may end what an actor waits for, and what an actor finds out
// may depend on the clock. So it suffices that an actor stalls just before such a step: no other actor can observe a stall
// between two steps on the actor's own disk.
//
// No other actor can observe the steps on an actor's own disk. They need no gate, and are points at which the actor can die. A
// death changes only what its own actor does afterwards, so it is tried at each point once for every run that differs up to
// that point, not once for every order of the others' steps around it.
package explore
