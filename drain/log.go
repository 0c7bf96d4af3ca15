package drain

import (
	"log/slog"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// NonBlocking returns a Logger that writes to l's handler through a queue, so that a call waits at most 50 ms for a
// handler that is stuck, for example because nothing reads the pipe that it writes to. The queue holds 1,024 lines.
// Further lines are dropped, and their number is logged once the handler works again. RunWith returns only when the queue
// is empty, or when the handler has been busy with one line for two seconds. For nil it returns a Logger that discards
// everything.
//
// Every Options.Logger of Penstock's packages gets such a queue automatically. A program that passes the result of
// NonBlocking to all of them, and logs to it itself, has one queue for everything, so the lines appear in the order of
// the calls.
func NonBlocking(l *slog.Logger) *slog.Logger { return steadylog.Wrap(l) }
