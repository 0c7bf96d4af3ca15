// Package drain ends a service without losing what it holds: Stop keeps the spools for the next start, Drain empties them
// into every destination, has each destination confirm what it holds, and says exactly what is left if it could not.
//
// A [Drainer] owns the classes of a process (their listeners, spools and shippers). Its Run is the shutdown hook of a
// service's main: it runs the shippers, waits for SIGTERM or SIGINT, does what [Options.OnSignal] says, writes the
// [Report], and returns it; [Report.ExitCode] is what main exits with. A second signal cuts everything short: the report
// is written from what is known, and Run returns within two seconds.
//
// # Phases
//
//	Announce  readiness turns 503; the user's own steps run
//	Close     the listeners read their sockets empty and close; what the kernel dropped is accounted
//	Seal      everything taken is written, synced and sealed
//	Ship      (Drain) back-off is reset; every segment is staged and delivered everywhere
//	Verify    (Drain) every destination is asked afresh for everything that is still in the spool
//	Report    written to the volume, to the log, and to every destination that can be reached
//
// One deadline covers all of them, and a part of it is kept back for the last ones. Nothing is deleted between the
// beginning of a drain and the end of Verify. The phase of a drain is journalled in [Options.Dir]: a process that is
// killed before its report finds it at the next start (see [Interrupted]) and goes on with its listeners closed.
package drain
