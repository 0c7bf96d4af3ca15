// Package explore runs a few hosts against each other and tries every order in which their steps can happen.
//
// Each host is an [Actor], with as many goroutines as it likes, in one bubble of testing/synctest. What other hosts can
// see of it (a request to a place that they share) waits at a gate ([Life.Before]). A [Run] opens one gate at a time and
// then waits until everything is blocked again, so that exactly one actor moves at any time. A run is therefore given by
// the list of its choices, replays exactly, and can be ended at any step as by a crash ([Life.Point]).
//
// A [Search] chooses: every order of steps that can make a difference, each once. [Random] chooses by chance, and a
// [Replay] repeats a list. They know nothing about what the hosts do; the caller checks what must hold after a run.
//
// # What is left out, and why that is sound
//
// Two steps commute if they touch different places, or only look: their order changes neither what the places hold nor what
// the actors learn. Runs that differ only in the order of such steps are the same run for everybody who takes part, so one
// of them represents all (Mazurkiewicz traces). The search finds the steps that do not commute while it runs (dynamic
// partial-order reduction: Flanagan and Godefroid, POPL 2005) and tries these the other way round; sleep sets keep it from
// meeting a run twice (Godefroid 1996). Passing time commutes with no step that others can see, since it may end what they
// wait for, and what they find out may depend on the clock. An actor that stalls therefore stalls in front of such a step:
// a stall between two steps on its own disk is the same to everybody.
//
// Steps on an actor's own disk are seen by nobody else. They need no gate, and are points at which it can die.
// A death changes what its own actor does from there on and nothing else, so it is tried at each point once for every
// run that differs up to there, not once for every order of the others' steps around it.
package explore
