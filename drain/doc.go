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
//	announce  readiness turns 503; the user's own steps run
//	quiesce   (a platform takes the instance away) the listeners go on until it has been quiet: see Options.Quiesce
//	close     the listeners read their sockets empty and close; what the kernel dropped is accounted
//	seal      everything taken is written, synced and sealed
//	ship      (Drain) back-off is reset; every segment is staged and delivered everywhere
//	verify    (Drain) every destination is asked afresh for everything that is still in the spool
//	report    written to the volume, to the log, and to every destination that can be reached
//	finish    every Lifecycle is told how it ended
//
// One deadline covers all of them up to the report. A part of it is kept back for the last ones, and none of the phases
// before ship takes more than half of what is left: what hangs is left behind and named in the report. When nothing has
// moved for [Options.StallTimeout] the drain gives up early, while the platform still listens.
//
// Nothing is deleted between the beginning of a drain and the end of Verify, except that a spool which fills up in
// quiesce deletes what is delivered. The spools are frozen on disk for that (spool.Freeze): what could not be verified
// stays frozen through the next starts, until every destination has confirmed it. The phase of a drain is journalled in
// [Options.Dir]: a process that is killed before its report finds it at the next start (see [Interrupted]) and goes on
// with its listeners closed.
//
// # Orphans
//
// [Adopt] delivers a spool that another process has left behind, such as the volume of an instance that is gone: the same
// phases, for one class without listeners, and a mark on the volume at the end.
//
// # Platforms
//
// A [Lifecycle] brings in the platform that takes instances away: [Systemd] is told how the end goes on, package asg
// answers the lifecycle hook of an EC2 Auto Scaling group, package ecs has ECS leave a task with a backlog alone, and
// package kube takes part in the end of a pod. A container's platform kills it a fixed time after its signal: say it in
// [Options.Grace]. A platform that leaves the instance after a drain that was not
// complete gets the drain continued, and a last report that says "retained".
package drain
