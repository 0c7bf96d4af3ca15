package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/steadylog"
)

const (
	// filesPerMessage is below what the kernel passes in one message (SCM_MAX_FD, 253).
	filesPerMessage = 128
	// maxMessage is far more than a message with that many sockets needs.
	maxMessage = 64 << 10
)

// wire is one end of the socket between the two processes. It is of type SEQPACKET, which preserves message boundaries
// and reports when the other end is closed, for example because its process has died.
type wire struct{ c *net.UnixConn }

func newWire(fd int) (*wire, error) {
	f := os.NewFile(uintptr(fd), "hand-over")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("a %s socket", c.LocalAddr().Network())
	}
	return &wire{u}, nil
}

func (w *wire) send(m message, files ...*os.File) error {
	m.Version = handoverVersion
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		c, err := f.SyscallConn() // Fd would make the socket blocking in every process that has it
		if err == nil {
			err = c.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			return err
		}
	}
	_, _, err = w.c.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	runtime.KeepAlive(files)
	return err
}

// receive waits for one of the steps until ctx ends.
func (w *wire) receive(ctx context.Context, steps ...string) (m message, files []*os.File, err error) {
	stop := context.AfterFunc(ctx, func() { w.c.SetReadDeadline(past) })
	defer stop()
	b, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(filesPerMessage*4))
	n, oobn, flags, _, err := w.c.ReadMsgUnix(b, oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer (waiting for %q): %w", steps[0], context.Cause(ctx))
		}
		return m, nil, err
	}
	if files, err = parseRights(oob[:oobn]); err != nil {
		return m, nil, err
	}
	switch err = json.Unmarshal(b[:n], &m); {
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a message was cut off: are there descriptors left (ulimit -n)?")
	case err == nil && m.Version != handoverVersion:
		err = fmt.Errorf("the other process uses version %d of the hand-over, this one %d", m.Version, handoverVersion)
	case err == nil && !slices.Contains(steps, m.Step):
		err = fmt.Errorf("received %q instead of %q", m.Step, steps[0])
	}
	if err != nil {
		closeAll(files)
	}
	return m, files, err
}

func parseRights(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// HandOver starts a successor and passes it the sockets of the listeners, so that a new version of a program takes over
// without losing a datagram. For some milliseconds neither process reads; what arrives then waits in the receive
// buffers of the sockets, and is counted if they overflow. The successor calls Inherit.
//
// When HandOver returns nil, the successor receives, and the listeners that it asked for have ended, except for the
// connections that TCP listeners had accepted: Shutdown waits for those. This process must then shut down everything
// else, close its spools, for which the successor waits, and end.
//
// With an error nothing has changed: the listeners continue, and the successor is dead. It has read nothing, unless it
// died by itself in the last step. If s is nil, has no Cmd or has a nil Listener, HandOver returns an error and starts
// nothing.
func HandOver(ctx context.Context, s *Successor) error {
	if err := errors.Join(checkContext(ctx), checkSuccessor(s)); err != nil {
		return err
	}
	if getpid() == 1 {
		return errFirstProcess
	}
	log := steadylog.Wrap(s.Logger)
	o := &offer{Successor: s, log: log, timeout: s.Timeout}
	setDefault(&o.timeout, 30*time.Second)
	if err := o.start(); err != nil {
		return fmt.Errorf("ingest: hand-over: starting the successor: %w", err)
	}
	defer o.wire.c.Close()
	log.Info("ingest: hand-over: started the successor; it receives as soon as it has checked its configuration", "pid", s.Cmd.Process.Pid)
	if err := o.run(ctx); err != nil {
		o.undo()
		return fmt.Errorf("ingest: hand-over: %w; this process continues", err)
	}
	return nil
}

// checkSuccessor returns what is wrong with a Successor. Without this check a panic would end this process and lose the
// records in the memory of its listeners.
func checkSuccessor(s *Successor) error {
	if s == nil {
		return errors.New("ingest: hand-over: the Successor is nil")
	}
	var errs []error
	if s.Cmd == nil {
		errs = append(errs, errors.New("ingest: hand-over: Successor.Cmd is missing"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Listeners)) {
		if foreign.IsNil(s.Listeners[name]) {
			errs = append(errs, fmt.Errorf("ingest: hand-over: Successor.Listeners[%q] is nil (%T)", name, s.Listeners[name]))
		}
	}
	return errors.Join(errs...)
}

// errFirstProcess: the kernel ends every process of a PID namespace when its first one ends (pid_namespaces(7)), so the
// successor would die with its predecessor.
var errFirstProcess = errors.New("ingest: hand-over: this process is the first one of its PID namespace (PID 1), as in a container " +
	"without an init, and the kernel would end the successor together with it; this process continues. " +
	"Replace the container, or run the program below an init (docker run --init, shareProcessNamespace)")

var getpid = os.Getpid // tests replace it

// offer is a hand-over in progress, in the predecessor.
type offer struct {
	*Successor
	log     *slog.Logger
	timeout time.Duration
	wire    *wire
	paused  []movable
}

func (o *offer) start() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "hand-over")
	defer theirs.Close()
	if o.wire, err = newWire(pair[0]); err != nil {
		return err
	}
	if o.Cmd.Env == nil {
		o.Cmd.Env = os.Environ()
	}
	o.Cmd.ExtraFiles = append(o.Cmd.ExtraFiles, theirs)
	o.Cmd.Env = append(o.Cmd.Env, handoverEnv+"="+strconv.Itoa(2+len(o.Cmd.ExtraFiles)))
	if err := o.Cmd.Start(); err != nil {
		o.wire.c.Close()
		return err
	}
	return nil
}

// run performs the steps.
func (o *offer) run(ctx context.Context) error {
	ready, err := o.await(ctx, stepReady)
	if err != nil {
		return err
	}
	if err := o.release(ctx, ready.Names); err != nil {
		return err
	}
	if _, err := o.await(ctx, stepTaken); err != nil {
		return err
	}
	// A Shutdown in the meantime has detached the sockets; a later one leaves them as they are.
	for _, l := range o.paused {
		if !l.leave() {
			return ErrServerClosed
		}
	}
	// From here on the successor may have read something, so it must not be killed. Only if it dies by itself, which closes
	// the wire, does this process take the sockets back.
	if err := o.wire.send(message{Step: stepYours}); err != nil {
		return err
	}
	if _, err := o.await(ctx, stepServing); errors.Is(err, errDied) {
		return err
	} else if err != nil {
		o.log.Warn("ingest: hand-over: the successor is alive but has not confirmed that it receives; this process ends all the same, since the successor has the sockets: see the successor's log", "err", err)
	}
	for _, l := range o.paused {
		l.halt()
	}
	o.log.Info("ingest: hand-over: the successor receives; this process closes its spools and ends")
	return nil
}

var (
	errStep = errors.New("time is up")
	errDied = errors.New("the successor has ended")
)

// await waits for the next message of the successor.
func (o *offer) await(ctx context.Context, step string) (message, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errStep)
	defer cancel()
	m, files, err := o.wire.receive(ctx, step)
	closeAll(files)
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		err = fmt.Errorf("%w before it sent %q", errDied, step)
	}
	return m, err
}

// release stops the listeners that the successor asked for and passes on their sockets.
func (o *offer) release(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errStep)
	defer cancel()
	// Listeners that wait for their sinks are paused first: that may take long, and the sockets of listeners that were
	// already paused would overflow meanwhile.
	for _, name := range o.byWait(names) {
		l, ok := o.Listeners[name].(movable)
		if !ok {
			continue // the successor binds it again
		}
		o.paused = append(o.paused, l)
		e, err := l.pause(ctx)
		if err != nil {
			return err
		}
		err = o.pass(name, e)
		closeAll(e.files)
		if err != nil {
			return err
		}
	}
	for name, f := range o.Files {
		if slices.Contains(names, name) {
			if err := o.pass(name, &handedOver{files: []*os.File{f}}); err != nil {
				return err
			}
		}
	}
	return o.wire.send(message{Step: stepReleased})
}

// byWait orders names by how long their listeners have waited for their sinks.
func (o *offer) byWait(names []string) []string {
	since := make(map[string]time.Time)
	for _, name := range names {
		since[name] = time.Now()
		if l, ok := o.Listeners[name]; ok {
			if s := l.Stats(); s.InHand.Records > 0 {
				since[name] = s.LastRecord // it has read nothing since
			}
		}
	}
	return slices.SortedFunc(slices.Values(names), func(a, b string) int { return since[a].Compare(since[b]) })
}

// pass sends sockets, in as many messages as they need.
func (o *offer) pass(name string, e *handedOver) error {
	m := message{Step: stepSocket, Name: name, Shared: e.shared, Drops: e.drops}
	for part := range slices.Chunk(e.files, filesPerMessage) {
		if err := o.wire.send(m, part...); err != nil {
			return err
		}
		m.Drops = nil
	}
	return nil
}

// undo kills the successor and lets the listeners continue.
func (o *offer) undo() {
	o.wire.c.Close()
	_ = o.Cmd.Process.Kill() // it may have ended already
	_ = o.Cmd.Wait()
	for _, l := range o.paused {
		l.resume()
	}
}

// Inheritance is what a predecessor passes to this process: see HandOver. Call its methods in the order Take, Apply and
// File, Commit, Serving. Call Take, Commit and Serving only once.
type Inheritance struct {
	wire  *wire
	items map[string]*inheritedSockets
	drops map[uint64]uint64
}

// Inherit returns the Inheritance from the process that started this one; nil if there is none.
func Inherit() (*Inheritance, error) {
	v := os.Getenv(handoverEnv)
	if v == "" {
		return nil, nil
	}
	os.Unsetenv(handoverEnv) // not for children of this process
	fd, err := strconv.Atoi(v)
	if err != nil || fd <= 2 {
		return nil, fmt.Errorf("ingest: hand-over: %s=%q: want a descriptor", handoverEnv, v)
	}
	unix.CloseOnExec(fd)
	w, err := newWire(fd)
	if err != nil {
		return nil, fmt.Errorf("ingest: hand-over: %s=%s: %w", handoverEnv, v, err)
	}
	return &Inheritance{wire: w, items: make(map[string]*inheritedSockets), drops: make(map[uint64]uint64)}, nil
}

// Take reports that the configuration of this process is valid, and waits until the predecessor has stopped reading
// from the sockets with these names and has passed them on. Names that the predecessor does not have are left out: see
// Apply.
func (i *Inheritance) Take(ctx context.Context, names ...string) error {
	if err := i.wire.send(message{Step: stepReady, Names: names}); err != nil {
		return fmt.Errorf("ingest: hand-over: %w", err)
	}
	for {
		m, files, err := i.wire.receive(ctx, stepSocket, stepReleased)
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("ingest: hand-over: the predecessor keeps its sockets (its log says why)")
		case err != nil:
			return fmt.Errorf("ingest: hand-over: %w", err)
		case m.Step == stepReleased:
			return nil
		}
		l := i.items[m.Name]
		if l == nil {
			l = &inheritedSockets{shared: m.Shared}
			i.items[m.Name] = l
		}
		l.files = append(l.files, files...)
		for cookie, drops := range m.Drops {
			i.drops[cookie] = drops
		}
	}
}

// Apply makes a Listen with these options take over the sockets with a name. If there are none, Listen binds new ones.
func (i *Inheritance) Apply(name string, o *Options) {
	if l := i.items[name]; l != nil {
		o.Files, o.OwnFiles = l.files, !l.shared
	}
}

// File returns a socket of Successor.Files, nil if there is none with this name.
func (i *Inheritance) File(name string) *os.File {
	if l := i.items[name]; l != nil {
		return l.files[0]
	}
	return nil
}

// SocketDrops returns how many drops of a socket the predecessor has accounted for. It is an argument for NewHold.
func (i *Inheritance) SocketDrops(cookie uint64) uint64 { return i.drops[cookie] }

// Commit reports that all listeners are open, and waits for the predecessor to hand them over. Only then may they be
// served. Until Commit returns, this process may end without loss; after an error it must end.
func (i *Inheritance) Commit(ctx context.Context) error {
	err := i.wire.send(message{Step: stepTaken})
	if err == nil {
		_, _, err = i.wire.receive(ctx, stepYours)
	}
	if err != nil {
		return fmt.Errorf("ingest: hand-over: the predecessor did not hand over its sockets: %w", err)
	}
	return nil
}

// Serving reports to the predecessor that the listeners are being served, so that it ends. It may have ended already.
func (i *Inheritance) Serving() {
	_ = i.wire.send(message{Step: stepServing})
	i.wire.c.Close()
	for _, l := range i.items { // the listeners have duplicates
		closeAll(l.files)
	}
}
