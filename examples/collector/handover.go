package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
)

// A new version of the program takes over without losing a datagram. On SIGUSR2 this process starts the program that is now at
// the path from which it was itself started, with the same arguments, and hands it the sockets. See ingest.HandOver.

// httpName names the socket of the status page between the two processes.
const httpName = "http"

// socketName names the sockets of a listener between the two processes. It leaves out the URL's parameters, since they may
// change.
func socketName(class, rawURL string) string {
	addr, _, _ := strings.Cut(rawURL, "?")
	return class + "=" + addr
}

// served holds the listeners that receive, by socketName.
type served struct {
	mu        sync.Mutex
	listeners map[string]ingest.Listener
	holds     []*ingest.Hold
}

// add adds a listener.
func (s *served) add(name string, l ingest.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		s.listeners = make(map[string]ingest.Listener)
	}
	s.listeners[name] = l
}

// hold returns the Hold in which a class keeps received records in memory until its spool is open.
func (s *served) hold(bytes int64, inherited *ingest.Inheritance, log *slog.Logger) *ingest.Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := ingest.NewHold(&ingest.HoldOptions{MemoryBytes: bytes, SocketDrops: inherited.SocketDrops, Logger: log})
	s.holds = append(s.holds, h)
	return h
}

// held returns the number of records that are only in memory.
func (s *served) held() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.holds {
		n += h.Held().Records
	}
	return n
}

// all returns the listeners.
func (s *served) all() map[string]ingest.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.listeners)
}

// handOverNow hands over to a new process, and returns its process ID. If that fails, this process continues.
func (s *service) handOverNow(ctx context.Context) (pid int, ok bool) {
	pid, err := s.handOver(ctx)
	if err != nil {
		s.log.Error("hand-over failed; this process continues as before, and has lost nothing: correct what err names, and send SIGUSR2 again", "err", err)
	}
	return pid, err == nil
}

// leave ends this process after a hand-over.
func (s *service) leave(ctx context.Context, successor int, hangups <-chan struct{}) {
	if err := s.drainer.HandOver(ctx); err != nil {
		s.log.Error("hand-over: cannot close the spools cleanly; the new process recovers them, and no kept record is lost", "err", err)
	}
	last, stop := context.WithTimeout(context.Background(), stallTimeout)
	defer stop()
	if err := s.orphans.Stop(last); err != nil {
		s.log.Warn("hand-over: cannot end the adoptions in time; the new process continues them", "err", err)
	}
	s.status.Close()
	select {
	case <-hangups: // the signal came after the successor had read its settings
		if err := hangUp(successor); err != nil {
			s.log.Error("hand-over: cannot pass a SIGHUP on to the new process: send it again", "pid", successor, "err", err)
		}
	default:
	}
	s.cancel(drain.ErrHandedOver)
}

// handOver starts the successor and hands it the sockets. If it returns an error, this process still has them.
func (s *service) handOver(ctx context.Context) (pid int, err error) {
	if phase := s.drainer.Stats().Phase; phase != drain.PhaseRun {
		return 0, fmt.Errorf("this process is ending: %s", phase)
	}
	if n := s.served.held(); n > 0 {
		return 0, fmt.Errorf("%d records are in memory since the last hand-over: their spool cannot be opened", n)
	}
	self, err := program()
	if err != nil {
		return 0, err
	}
	next := &ingest.Successor{Cmd: exec.Command(self, os.Args[1:]...), Listeners: s.served.all(), Logger: s.log}
	next.Cmd.Stdout, next.Cmd.Stderr = os.Stdout, os.Stderr
	if l, ok := s.socket.(*net.TCPListener); ok {
		f, err := l.File()
		if err != nil {
			return 0, err
		}
		defer f.Close()
		next.Files = map[string]*os.File{httpName: f}
	}
	if err := ingest.HandOver(ctx, next); err != nil {
		return 0, err
	}
	if err := mainPID(next.Cmd.Process.Pid); err != nil {
		s.log.Error("hand-over: cannot tell systemd the new process, so systemd may restart the service: see NotifyAccess=all in the unit", "err", err) // and continue: the successor has everything
	}
	return next.Cmd.Process.Pid, nil
}

// program returns the program that is now at the path from which this process was started. /proc/self/exe would still name the
// old program after its file was moved aside or a symbolic link to it was changed, so the upgrade would silently not happen.
func program() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// nextSignals returns a channel that receives the signals to hand over, from now on.
func nextSignals() chan os.Signal {
	next := make(chan os.Signal, 1)
	if len(handOverSignals) > 0 { // Notify without a list of signals would receive all
		signal.Notify(next, handOverSignals...)
	}
	return next
}
