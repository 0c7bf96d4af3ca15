// Package steadylog keeps a slow log from stopping the data. A slog.Handler may block, for example because nothing reads the
// pipe that it writes to. It would then block the code that logs, too: the loop that reads a socket, or a drain.
//
//   - [Wrap] returns a Logger with a queue in front of the given Logger's handler. A caller waits at most 50 ms for its line.
//     While the handler keeps up, lines are written before the call returns, as without the queue.
//   - While the handler is stuck, the queue holds up to 1,024 lines. Further lines are dropped and counted, and the count is
//     logged when the handler works again.
//   - Lines that are logged with a context from [Keep] are not dropped while the handler makes progress. [Flush] waits until
//     everything has been written, also only while the handler makes progress. Final reports use both.
package steadylog
