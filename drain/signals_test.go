//go:build unix

package drain

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// lineLog is a log that signals each line.
type lineLog struct {
	mu    sync.Mutex
	b     bytes.Buffer
	lines chan struct{}
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines <- struct{}{}
	return l.b.Write(p)
}

func (l *lineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestSignals: of the signals that kill a process by default, those that end the service are passed on, and the others do
// nothing. Otherwise they would kill the test process.
func TestSignals(t *testing.T) {
	log := &lineLog{lines: make(chan struct{}, 10)}
	end, stop := Signals(&SignalOptions{Logger: slog.New(slog.NewTextHandler(log, nil))})
	kill := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(syscall.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	kill(syscall.SIGHUP)
	kill(syscall.SIGPIPE)
	<-log.lines
	if !strings.Contains(log.String(), "SIGHUP is ignored") {
		t.Errorf("the log says %q", log.String())
	}
	kill(syscall.SIGTERM)
	if s := <-end; s != syscall.SIGTERM {
		t.Errorf("%v ends the service, want SIGTERM", s)
	}
	stop()
	kill(syscall.SIGPIPE) // main may still write its last lines
	kill(syscall.SIGHUP)
}

// TestReloadSignal: SIGHUP calls Reload, a second one during the call calls it again after it, and stop waits for it.
func TestReloadSignal(t *testing.T) {
	// With room for signals of other tests, which may arrive late.
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	_, stop := Signals(&SignalOptions{Reload: func() {
		begun <- struct{}{}
		<-goOn
	}})
	hangUp := func() {
		t.Helper()
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	<-begun
	hangUp()
	close(goOn)
	<-begun
	stop()
}
