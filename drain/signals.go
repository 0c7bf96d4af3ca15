package drain

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// SignalOptions configure Signals. The zero value of every field means its documented default.
type SignalOptions struct {
	// Reload is called for SIGHUP, by one goroutine. Signals that arrive during a call cause one more call after it. Default
	// nil: SIGHUP is logged and ignored.
	Reload func()
	// Logger gets a line for each ignored signal; nil discards.
	Logger *slog.Logger
}

// Signals takes over the signals of a service, and returns those that end it: SIGTERM and SIGINT. By default, other
// signals kill the process: without a stop or drain or, after stop was called, with the wrong exit code. Signals prevents
// that:
//
//   - SIGHUP, which log rotation, a "reload" or a closed terminal sends: it is logged until stop, and otherwise ignored,
//     unless SignalOptions.Reload is set.
//   - SIGPIPE, which a write to standard output or standard error raises once nothing reads them (see package os/signal):
//     the write fails, and the service continues without its log.
//   - SIGXFSZ, which a write beyond RLIMIT_FSIZE raises: the write fails, is logged and retried.
//
// SIGQUIT still ends the process with Go's dump of all goroutines. Run does all this by itself; Signals is for programs
// that call RunWith. stop waits for a running call of Reload.
func Signals(o *SignalOptions) (end <-chan os.Signal, stop func()) {
	if o == nil {
		o = new(SignalOptions)
	}
	log, reload := steadylog.Wrap(o.Logger), o.Reload
	if reload == nil {
		reload = func() { log.Info("drain: SIGHUP is ignored; to change the configuration, start a new process") }
	}
	ends, hangups, pipes := make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, os.Interrupt)
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Notify(pipes, unread...) // nothing reads the channel: signals that arrive while it is full are discarded
	stopped, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-hangups:
				reload()
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
