package faultproxy

import (
	"net"
	"sync"
	"time"
)

// TCP passes connections on to one address. The zero faults are none; all methods may be called at any time.
type TCP struct {
	// Addr it listens on.
	Addr string

	to       string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	delay time.Duration
	hole  chan struct{} // while not nil, bytes wait for it to be closed
	left  int64         // bytes towards the server until every connection is reset; negative: no limit
	flip  int64         // bytes towards the server until one bit turns; negative: never
	conns map[net.Conn]struct{}
	live  int // connections now, and most at a time
	most  int
	sent  int64 // bytes passed towards the server
}

// ListenTCP returns a proxy on a free port of 127.0.0.1 to the server at host:port. Close it in the end.
func ListenTCP(to string) (*TCP, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &TCP{Addr: l.Addr().String(), to: to, listener: l, left: -1, flip: -1, conns: make(map[net.Conn]struct{})}
	p.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(c) })
		}
	})
	return p, nil
}

// Close ends all connections and waits for what it started. Idempotent.
func (p *TCP) Close() {
	p.listener.Close()
	p.Fill()
	p.Reset()
	p.running.Wait()
}

func (p *TCP) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.live++
	p.most = max(p.most, p.live)
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, true) })
	both.Go(func() { p.copy(client, server, false) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live--
	delete(p.conns, client)
	delete(p.conns, server)
}

// packet is bytes on their way.
type packet struct {
	b   []byte
	due time.Time
	cut chan struct{} // closed when everything was reset after these bytes; nil if nothing is
}

// copy moves bytes one way. A goroutine takes them off the sender's hands, as a long line would, up to 16 MiB.
func (p *TCP) copy(dst, src net.Conn, up bool) {
	defer dst.Close()
	line := make(chan packet, 256)
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		defer close(line)
		defer src.Close()
		for {
			b := make([]byte, 64<<10)
			n, err := src.Read(b)
			if err != nil {
				return
			}
			pkt := packet{b: b[:n], due: time.Now().Add(p.latency())}
			if up {
				p.pass(&pkt)
			}
			line <- pkt
			if pkt.cut != nil {
				<-pkt.cut
				return
			}
		}
	})
	for pkt := range line {
		if wait := time.Until(pkt.due); wait > 0 {
			<-time.After(wait)
		}
		p.mu.Lock()
		hole := p.hole
		p.mu.Unlock()
		if hole != nil {
			<-hole
		}
		if _, err := dst.Write(pkt.b); err != nil {
			src.Close() // ends the sender, whose packets are dropped
		}
		if pkt.cut != nil {
			p.Reset()
			close(pkt.cut)
		}
	}
}

// pass applies the requested faults to bytes towards the server.
func (p *TCP) pass(pkt *packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left >= 0 {
		if n := int64(len(pkt.b)); p.left <= n {
			pkt.b, pkt.cut, p.left = pkt.b[:p.left], make(chan struct{}), -1
		} else {
			p.left -= n
		}
	}
	n := int64(len(pkt.b))
	p.sent += n
	if p.flip >= 0 {
		if p.flip < n {
			pkt.b[p.flip] ^= 1
		}
		p.flip = max(p.flip-n, -1)
	}
}

func (p *TCP) latency() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

// SetDelay makes each byte take so long, each way: a round trip takes twice that.
func (p *TCP) SetDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Dig makes the proxy a black hole: connections stay open, but no byte arrives any more. Fill ends that; the bytes sent
// meanwhile then arrive.
func (p *TCP) Dig() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole == nil {
		p.hole = make(chan struct{})
	}
}

// Fill ends Dig.
func (p *TCP) Fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole != nil {
		close(p.hole)
		p.hole = nil
	}
}

// CutAfter resets everything once n more bytes, and none after them, have gone towards the server; negative: never.
func (p *TCP) CutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = n
}

// FlipAfter turns one bit of the byte that comes after n more towards the server; negative: none.
func (p *TCP) FlipAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flip = n
}

// Reset resets all connections (RST).
func (p *TCP) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = -1
	for c := range p.conns { // all before the first is closed: the end of one closes its other side
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	for c := range p.conns {
		c.Close()
	}
}

// Count returns how many connections there are and how many there were at most.
func (p *TCP) Count() (live, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live, p.most
}

// Sent returns how many bytes have gone towards the server.
func (p *TCP) Sent() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}
