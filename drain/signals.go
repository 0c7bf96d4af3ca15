package drain

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// Signals takes over the signals of a service, and returns those that end it: SIGTERM and SIGINT. It also prevents
// other signals from killing the process without a stop or drain, as they do by default, or with the wrong exit code
// after stop was called:
//
//   - SIGHUP, which log rotation, a "reload" or a closed terminal sends: it is logged until stop, and otherwise ignored.
//   - SIGPIPE, which a write to standard output or standard error raises once nothing reads them (see package os/signal):
//     the write fails, and the service continues without its log.
//   - SIGXFSZ, which a write beyond RLIMIT_FSIZE raises: the write fails, is logged and retried.
//
// SIGQUIT still ends the process with Go's dump of all goroutines. Run does all this by itself; Signals is for programs
// that call RunWith.
func Signals(log *slog.Logger) (end <-chan os.Signal, stop func()) {
	log = steadylog.Wrap(log)
	ends, hangups, pipes := make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, os.Interrupt)
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Notify(pipes, unread...) // nobody reads the channel: signals that find it full are discarded
	stopped, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-hangups:
				log.Info("drain: SIGHUP is ignored; to change the configuration, start a new process")
			case <-stopped:
				return
			}
		}
	}()
	return ends, func() {
		signal.Stop(ends)
		close(stopped)
		<-gone
	}
}
