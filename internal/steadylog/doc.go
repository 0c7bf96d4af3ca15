// Package steadylog keeps a slow log from stopping the data. A slog.Handler that blocks, for example one that writes to a
// pipe that nobody reads, would otherwise block whatever logs: the loop that reads a socket, or the drain that a signal
// has begun.
//
//   - Wrap returns a Logger with a queue in front of the given one's handler. A caller waits for its line at most for
//     patience; as long as the handler keeps up, lines are written before the call returns, as without the queue.
//   - While the handler is stuck the queue takes up to capacity lines. Further ones are dropped and counted, and the count
//     is logged once the handler goes on.
//   - Lines logged with a context from Keep are not dropped while the handler makes progress. Flush waits until
//     everything has been written, also only while the handler makes progress. Final reports use both.
package steadylog
