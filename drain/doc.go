// Package drain ends a service without losing the records that it holds. A service ends in one of two ways. Stop keeps the
// spools on disk for the next start. Drain delivers every record to every destination, asks each destination to confirm
// what is still in the spool, and reports every record that it could not deliver.
//
// A [Drainer] owns the classes of a process, each with its inputs, spool and shipper. [Drainer.Run] is the shutdown hook of
// main: it waits for SIGTERM, SIGINT or a platform's notice, ends the service, and returns a [Report]; main exits with
// [Report.ExitCode]. A notice starts a Drain. A signal starts a Stop or a Drain ([Options.OnSignal]), and always a Drain
// while the platform takes the instance away. A second signal cuts the end short (for the exceptions see Run): the report is
// written from what is known, and Run returns within two seconds.
//
// # Phases
//
//	announce  readiness turns 503; the program's own steps run (Options.Before)
//	quiesce   (after a platform's notice) inputs stay open until no record has arrived for Options.Quiesce. Two limits
//	          end this phase earlier: Options.QuiesceMax, and half of the time that is left
//	close     the listeners read their sockets until they are empty, and close; kernel drops are accounted for
//	seal      everything that was received is written, synced and sealed
//	ship      (Drain) back-off is reset; every segment is staged and delivered to every destination
//	verify    (Drain) every destination is asked again about each segment that is in the spool
//	report    the report is written to the volume, to the log, and to every destination that can be reached
//	finish    every Lifecycle is told how it ended
//
// One deadline covers all phases up to the report ([Options.Timeout], [Options.StopTimeout]). A part of it is reserved for
// verify and report. No phase before ship takes more than half of the time that is left; a step that hangs is abandoned,
// and the report names it. If nothing has moved for [Options.StallTimeout], the drain ends early, while the platform still
// accepts an answer.
//
// If a listener could not end in close, most often because the spool was full, and ship has then succeeded, close, seal and
// ship run once more. The report lists both runs, and the last one counts.
//
// From the beginning of a drain to the end of verify, a spool deletes no segment, with one exception: if it becomes full
// while its inputs are still open (quiesce), it deletes segments that every destination has confirmed. For this the spools
// are frozen on disk (spool.Shelf.Freeze). If the drain could not verify a spool, that spool stays frozen across restarts
// until every destination has confirmed all of it. Such a spool deletes nothing in a later quiesce either: it may have the
// only copy of records that a destination has lost, so it refuses records when it is full.
//
// The current phase of a drain is written to a file in [Options.Dir]. If the process is killed before its report, or cannot
// write it, that file remains, and [Drainer.Run] of the next process resumes the drain at once, which closes the inputs. A program that asks
// [Interrupted] before it opens its listeners, and calls [Drainer.Resume] instead of Run, receives nothing in that process.
//
// # Spools of other processes
//
// [Adopt] delivers a spool that another process has left, for example on the volume of a terminated instance. It runs the
// same phases for one class without inputs, and at the end writes a mark to the volume, if it can. With [Options.Adoptions]
// a Drain also waits until such spools are delivered.
//
// # Platforms
//
// A [Lifecycle] connects the Drainer to a platform that takes instances away. [Systemd] reports progress to systemd. Each
// package below this one connects another platform: asg, for example, answers the lifecycle hook of an EC2 Auto Scaling
// group. Container platforms kill a process a fixed time after its signal: set [Options.Grace] to that time. If the platform
// retains the instance after an incomplete drain, the Drainer drains again, and its last report says "retained".
//
// # The way through the files
//
// From the outside in. hook.go has Run and reacts to signals, which signals.go collects. handover.go passes the sockets to a
// new process and ends this one, adopt.go drains the spool of another process, and ready.go answers health checks; stats.go
// has a snapshot of everything. run.go is one Stop or Drain, round by round; quiesce.go, listeners.go, verify.go and finish.go
// are its larger phases, and balance.go fills in and judges the report. progress.go measures the progress of the end and
// notices a stall. systemd.go is a platform, lifecycle.go asks and updates the platforms; adoptions.go waits for the adoptions
// that run in this process. phase.go names the phases, runs one of them and bounds its time. drainer.go has the Drainer and
// its classes, begin.go refuses mistakes at the start, and lostsink.go counts the records of a class that never had a spool.
// report_log.go writes the report to the log, report.go is the report itself, and journal.go writes and reads the file with
// the current phase. hooks.go calls an embedder's hooks, log.go makes loggers that do not block, signals_unix.go lists
// signals, and options.go has the options.
package drain
