package main

import (
	"context"
	"errors"
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
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
)

// A new version of the program takes over without losing a datagram: at SIGUSR2 this process starts the program whose
// name it was started by, which may be another one by now, with the same arguments, and hands it the sockets. See ingest.HandOver.

// httpName is the name of the -http socket between the two processes.
const httpName = "http"

// socketName is what the sockets of a listener are called between them: without its parameters, which may change.
func socketName(class, rawURL string) string {
	addr, _, _ := strings.Cut(rawURL, "?")
	return class + "=" + addr
}

// served are the listeners that receive, by socketName.
type served struct {
	mu        sync.Mutex
	listeners map[string]ingest.Listener
	holds     []*ingest.Hold
}

func (o *served) add(name string, l ingest.Listener) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listeners == nil {
		o.listeners = make(map[string]ingest.Listener)
	}
	o.listeners[name] = l
}

// hold returns where a class keeps what it receives until it has its spool.
func (o *served) hold(bytes int64, inherited *ingest.Inheritance, log *slog.Logger) *ingest.Hold {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := ingest.NewHold(bytes, inherited.SocketDrops, log)
	o.holds = append(o.holds, h)
	return h
}

// held counts the records that are in memory alone.
func (o *served) held() (n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.holds {
		n += h.Held().Records
	}
	return n
}

func (o *served) all() map[string]ingest.Listener {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.listeners)
}

// handOvers waits for signals to hand over until ctx ends. After a hand-over it ends the process by calling ended.
func handOvers(ctx context.Context, sig <-chan os.Signal, d *drain.Drainer, o *served, status net.Listener, log *slog.Logger, ended func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-sig:
		}
		if err := handOver(ctx, o, status, log); err != nil {
			log.Error("hand-over failed", "err", err)
			continue
		}
		if err := d.HandOver(ctx); err != nil {
			log.Error("hand-over: closing the spools", "err", err)
		}
		ended()
		return
	}
}

func handOver(ctx context.Context, o *served, status net.Listener, log *slog.Logger) error {
	if n := o.held(); n > 0 {
		return fmt.Errorf("%d records are in memory since the last hand-over: their spool cannot be opened", n)
	}
	self, err := program()
	if err != nil {
		return err
	}
	next := &ingest.Successor{Cmd: exec.Command(self, os.Args[1:]...), Listeners: o.all(), Logger: log}
	next.Cmd.Stdout, next.Cmd.Stderr = os.Stdout, os.Stderr
	if l, ok := status.(*net.TCPListener); ok {
		f, err := l.File()
		if err != nil {
			return err
		}
		defer f.Close()
		next.Files = map[string]*os.File{httpName: f}
	}
	if err := ingest.HandOver(ctx, next); err != nil {
		return err
	}
	if err := mainPID(next.Cmd.Process.Pid); err != nil {
		log.Error("hand-over: telling systemd of the new process", "err", err) // no reason to go on: it has everything
	}
	return nil
}

// program is what lies now under the name that this process was started by. What /proc/self/exe tells is another thing:
// it stays with the old program when that is moved aside, or when the symbolic link that named it leads to a new one, and
// an upgrade would silently be none.
func program() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// mainPID tells systemd which process is the service now: else it would end the successor together with this one.
func mainPID(pid int) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil { // a systemd that hangs must not hang the hand-over
		return err
	}
	_, err = fmt.Fprintf(c, "MAINPID=%d", pid)
	return err
}

// succeed takes over from the process that has started this one, and runs. Up to Commit anything that is wrong ends this
// process, and the predecessor goes on; from there on it keeps what it receives in memory until the spools are free.
func succeed(ctx context.Context, inherited *ingest.Inheritance, classes []*class, d *drain.Drainer, sig <-chan os.Signal, log *slog.Logger) error {
	for _, cl := range classes {
		if err := cl.bind(inherited); err != nil {
			return fmt.Errorf("class %s: %w", cl.name, err)
		}
	}
	if err := inherited.Commit(ctx); err != nil {
		return err
	}
	for _, cl := range classes {
		cl.spool.Successor = true
		cl.hold = cl.opened.hold(cl.spool.MemoryBytes, inherited, cl.log)
		d.Down(cl.name, errTakeOver)
		cl.serve(cl.hold, d)
	}
	inherited.Serving()
	var up sync.WaitGroup
	for _, cl := range classes {
		up.Add(1)
		go cl.settle(ctx, d, sig, sync.OnceFunc(up.Done))
	}
	up.Wait()
	log.Info("took over from the predecessor")
	return nil
}

// settle opens the spool as soon as the predecessor lets go of it, and gives it what has come in meanwhile (see attach). It
// calls tried when it has the spool, or when something else is in the way: then the others are not to wait for it. Two
// signals end it.
func (cl *class) settle(ctx context.Context, d *drain.Drainer, sig <-chan os.Signal, tried func()) {
	defer tried()
	var told time.Time
	for {
		err := cl.openSpool()
		if err == nil {
			err = cl.attach(d, tried)
		}
		if err == nil {
			return
		}
		wait := 20 * time.Millisecond
		if !errors.Is(err, spool.ErrLocked) {
			d.Down(cl.name, err)
			tried()
			wait = time.Second
		}
		held := cl.hold.Held()
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			cl.log.Warn("waiting for the spool; records are in memory", "records", held.Records, "bytes", held.Bytes, "err", err)
		}
		if len(sig) == cap(sig) || ctx.Err() != nil {
			cl.log.Error("ending without a spool: what is in memory is lost", "records", held.Records, "bytes", held.Bytes, "err", err)
			d.Down(cl.name, fmt.Errorf("%d records that were in memory are lost: %w", held.Records, err)) // the report must not say complete
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// nextSignals takes over the signals that hand the process over, from now on.
func nextSignals() chan os.Signal {
	next := make(chan os.Signal, 1)
	if len(handOverSignals) > 0 { // otherwise Notify would take over all signals
		signal.Notify(next, handOverSignals...)
	}
	return next
}
