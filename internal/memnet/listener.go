package memnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// scheme is the prefix of addresses that Listen accepts: "mem:NAME".
const scheme = "mem:"

var (
	mu        sync.Mutex
	listeners = map[string]*Listener{}
)

// Is reports whether an address has the prefix of this package.
func Is(addr string) bool { return len(addr) > len(scheme) && addr[:len(scheme)] == scheme }

// Listener accepts the connections of Dial.
type Listener struct {
	name     string
	incoming chan *Conn
	closed   chan struct{}
	once     sync.Once
	ports    uint16 // of the clients that have dialed; guarded by the package's mu

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
}

var _ net.Listener = (*Listener)(nil)

// Listen listens at an address, which must be free.
func Listen(addr string) (*Listener, error) {
	mu.Lock()
	defer mu.Unlock()
	if listeners[addr] != nil {
		return nil, fmt.Errorf("memnet: listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &Listener{name: addr, incoming: make(chan *Conn), closed: make(chan struct{}), moved: make(chan struct{})}
	listeners[addr] = l
	return l, nil
}

// Dial connects. It waits until the connection is accepted, since there is no queue, and fails as soon as nobody listens.
func Dial(addr string) (*Conn, error) {
	mu.Lock()
	l := listeners[addr]
	refused := fmt.Errorf("memnet: dial %s: %w", addr, syscall.ECONNREFUSED)
	if l == nil {
		mu.Unlock()
		return nil, refused
	}
	l.ports++
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(l.ports >> 8), byte(l.ports)}), 1024+l.ports%60000)
	mu.Unlock()
	client, server := pair(from)
	if l.isClosed() { // checked first, because a select chooses randomly, and simulations must replay
		return nil, refused
	}
	select {
	case l.incoming <- server:
		return client, nil
	case <-l.closed:
		return nil, refused
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		deadline, moved := l.deadline, l.moved
		l.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return nil, os.ErrDeadlineExceeded
			}
			t := time.NewTimer(left)
			defer t.Stop()
			expired = t.C
		}
		if l.isClosed() {
			return nil, net.ErrClosed
		}
		select {
		case c := <-l.incoming:
			return c, nil
		case <-l.closed:
			return nil, net.ErrClosed
		case <-expired:
			return nil, os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// SetDeadline ends current and future calls of Accept at a time; the zero time removes the deadline.
func (l *Listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	close(l.moved)
	l.moved = make(chan struct{})
	return nil
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() {
		mu.Lock()
		defer mu.Unlock()
		delete(listeners, l.name)
		close(l.closed)
	})
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return addr(l.name) }

type addr string

func (addr) Network() string  { return "mem" }
func (a addr) String() string { return string(a) }
