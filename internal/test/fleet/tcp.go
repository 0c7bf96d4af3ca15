//go:build linux

package fleet

import (
	"context"
	"hash/fnv"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// tcpEngine passes connections on, with a PROXY header of version 2, as a balancer of AWS does when it is told to.
type tcpEngine struct {
	ns       *Namespace
	seed     uint32
	port     uint16 // of the targets
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	targets []netip.Addr
	open    map[net.Conn]netip.Addr // both sides of each connection, with its target
	refused int                     // there was no target
	dead    map[netip.Addr]bool
	doubted map[string]bool // clients, by address, of connections to a target that was killed
}

func newTCPEngine(ns *Namespace, seed uint32, in netip.AddrPort, port uint16) (*tcpEngine, error) {
	l, err := ns.Listen(in.String())
	if err != nil {
		return nil, err
	}
	e := &tcpEngine{ns: ns, seed: seed, port: port, listener: l, open: map[net.Conn]netip.Addr{}, dead: map[netip.Addr]bool{}, doubted: map[string]bool{}}
	e.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.wg.Go(func() { e.serve(c.(*net.TCPConn)) })
		}
	})
	return e, nil
}

// use implements engine.
func (e *tcpEngine) use(targets []netip.Addr) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.targets = targets
	return nil
}

// end implements engine: both peers of a connection to an unhealthy target get a reset.
func (e *tcpEngine) end(target netip.Addr, healthy bool) error {
	if healthy {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for c, to := range e.open {
		if to == target {
			abort(c)
		}
	}
	return nil
}

// close implements engine.
func (e *tcpEngine) close() error {
	err := e.listener.Close()
	e.mu.Lock()
	for c := range e.open {
		abort(c)
	}
	e.mu.Unlock()
	e.wg.Wait()
	return err
}

func abort(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// serve is the life of one connection.
func (e *tcpEngine) serve(client *net.TCPConn) {
	to, ok := e.choose(client)
	if !ok {
		abort(client)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	c, err := e.ns.Dial(ctx, "tcp", netip.AddrPortFrom(to, e.port).String())
	cancel()
	if err != nil {
		abort(client)
		return
	}
	server := c.(*net.TCPConn)
	e.note(to, client, server)
	defer e.forget(client, server)
	h := proxyproto.HeaderProxyFromAddrs(2, client.RemoteAddr(), client.LocalAddr())
	if _, err := h.WriteTo(server); err != nil {
		abort(client)
		abort(server)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { pass(server, client) })
	wg.Go(func() { pass(client, server) })
	wg.Wait()
}

// pass copies one direction, and passes on its end.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		abort(to)
		abort(from)
		return
	}
	_ = to.CloseWrite()
}

func (e *tcpEngine) note(to netip.Addr, conns ...*net.TCPConn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range conns {
		e.open[c] = to
		if e.dead[to] {
			e.doubted[c.RemoteAddr().String()] = true
		}
	}
}

// doom must be called before a target is killed. The kernel ends the connections of a killed process in the same way as those
// of a process that has read everything, so the end of these connections proves nothing.
func (e *tcpEngine) doom(target netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead[target] = true
	for c, to := range e.open {
		if to == target {
			e.doubted[c.RemoteAddr().String()] = true
		}
	}
}

// doubt reports whether a client's connection was to a target that was killed meanwhile.
func (e *tcpEngine) doubt(client string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.doubted[client]
}

func (e *tcpEngine) forget(conns ...*net.TCPConn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range conns {
		delete(e.open, c)
		_ = c.Close()
	}
}

// choose hashes the addresses and ports of a connection.
func (e *tcpEngine) choose(c *net.TCPConn) (netip.Addr, bool) {
	h := fnv.New32a()
	_, _ = io.WriteString(h, c.RemoteAddr().String()+c.LocalAddr().String())
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.targets) == 0 {
		e.refused++
		return netip.Addr{}, false
	}
	return e.targets[int((h.Sum32()^e.seed)%buckets)%len(e.targets)], true
}
