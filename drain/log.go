package drain

import (
	"log/slog"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// NonBlocking returns a Logger that writes to l's handler through a queue: a call waits at most 50 ms for a handler that is
// stuck, for example one that writes to a pipe nobody reads. The queue holds 1,024 lines; further ones are dropped, and
// their number is logged once the handler goes on. RunWith returns only after the queue is empty, or after the handler has
// been busy with one line for two seconds. For nil it returns a Logger that discards everything.
//
// Every Options.Logger of Penstock's packages gets such a queue by itself. A program that passes them the result of
// NonBlocking, and logs to it too, has one queue for all, and so its lines in the order of the calls.
func NonBlocking(l *slog.Logger) *slog.Logger { return steadylog.Wrap(l) }
