package sftpship

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// proxy stands between client and server and does what networks do.
type proxy struct {
	addr, to string
	delay    time.Duration // one way; set before the first connection

	mu    sync.Mutex
	hole  chan struct{} // while not nil, bytes wait for it to be closed: a black hole
	left  int64         // bytes towards the server until every connection is reset; negative: no limit
	conns map[net.Conn]struct{}
	live  int // connections now, and most at a time
	most  int
}

// startProxy returns a proxy before the server behind url, and the URL through it.
func startProxy(t testing.TB, raw string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), to: u.Host, left: -1, conns: make(map[net.Conn]struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.fill()
		p.reset()
		running.Wait()
	})
	return p, at(t, raw, p.addr)
}

// at is a URL with another address, under which the server's key is known too.
func at(t testing.TB, raw, addr string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	text, err := os.ReadFile(q.Get("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(text)
	if err != nil {
		t.Fatal(err)
	}
	return with(t, strings.Replace(raw, u.Host, addr, 1), "known_hosts", knownhosts.Line([]string{addr}, key))
}

// knownHostsOf is the file that a URL names.
func knownHostsOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("known_hosts")
}

// with is a URL with the parameter set to a file that holds text.
func with(t testing.TB, raw, param, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), param)
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(param, file)
	u.RawQuery = q.Encode()
	return u.String()
}

func (p *proxy) serve(client net.Conn) {
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
}

// copy moves bytes one way. A goroutine takes them off the sender's hands, as a long line would, up to 16 MiB.
func (p *proxy) copy(dst, src net.Conn, up bool) {
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
			if err != nil || !p.pass(n, up) {
				return
			}
			line <- packet{b[:n], time.Now().Add(p.delay)}
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
	}
}

// pass counts bytes towards the server and resets everything where cutAfter said.
func (p *proxy) pass(n int, up bool) bool {
	p.mu.Lock()
	cut := up && p.left >= 0 && p.left < int64(n)
	if up && p.left >= 0 {
		p.left -= int64(n)
	}
	p.mu.Unlock()
	if cut {
		p.reset()
	}
	return !cut
}

// dig makes the proxy a black hole, fill ends that.
func (p *proxy) dig() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole == nil {
		p.hole = make(chan struct{})
	}
}

func (p *proxy) fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole != nil {
		close(p.hole)
		p.hole = nil
	}
}

// cutAfter resets everything once n more bytes have gone up; negative: never.
func (p *proxy) cutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = n
}

// reset resets all connections.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = -1
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// count returns how many connections there are and how many there were at most.
func (p *proxy) count() (live, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live, p.most
}
