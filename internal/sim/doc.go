// Package sim tests the whole life of Penstock in one simulated world: hosts with volumes, the processes that run on them,
// destinations, and the operators and platforms that start, stop, kill, copy, restore and adopt. It has tests only.
//
// A seed determines a list of [Event]s, and a runner executes the list, in memory and in fake time: Penstock's own packages run
// unchanged on vfs.Mount and memnet. After each life, and at the end when every fault is over, the contract is checked: see
// invariants_test.go. A list that breaks it is reduced to a shortest one that still does.
//
//	go test ./internal/sim                                  some seeds
//	go test ./internal/sim -run Sim -sim.seed 17 -v         one seed, reduced if it fails
//	go test ./internal/sim -run Sim -sim.from 1 -sim.seeds 20000   a long run, with progress
//	go test ./internal/sim -run Sim -sim.events FILE -v     a list, as it was printed
//	go test ./internal/sim -run Replay -sim.again 6 -v      how exactly seeds replay
//
// The files: event_test.go defines the events, draw_test.go draws them from a seed, world_test.go is the runner, and
// host_test.go, process_test.go, adoption_test.go, place_test.go and source_test.go are the parts of the world. damage_test.go
// damages files at rest, witness_test.go knows where that may lose a record silently, journal_test.go records what is known of
// each record, invariants_test.go is the contract, and shrink_test.go the reduction.
package sim
