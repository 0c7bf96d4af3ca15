package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
)

// maxBurst is how many lines are made and sent at a time: as many as one send with UDP_SEGMENT may contain.
const maxBurst = 64

// maxLine is the size of the largest line: what fits in a UDP datagram over IPv4.
const maxLine = 65507

// framings are the ways to divide a TCP stream into lines; appendFrame writes them.
var framings = []string{"newline", "octet", "len16", "len32"}

// targetForms are the URLs of targets, for the help.
var targetForms = "udp://HOST:PORT, tcp://HOST:PORT?framing=" + strings.Join(framings, "|") + ", tls://HOST:PORT (also with framing), relp://HOST:PORT or " +
	"relps://HOST:PORT; all take format=" + strings.Join(fwlog.Formats, "|") + ", tls and relps take ca=FILE, cert=FILE, key=FILE and name=NAME, relp and relps window=N"

// batch is a burst of lines, one after the other.
type batch struct {
	buf  []byte
	ends []int // of each line in buf
}

func (b *batch) reset() { b.buf, b.ends = b.buf[:0], b.ends[:0] }

// end ends a line that was appended to buf.
func (b *batch) end() { b.ends = append(b.ends, len(b.buf)) }

// line returns line i.
func (b *batch) line(i int) []byte {
	from := 0
	if i > 0 {
		from = b.ends[i-1]
	}
	return b.buf[from:b.ends[i]]
}

// conn sends lines.
type conn interface {
	// send sends a burst. It returns how many of its lines the kernel has accepted.
	send(b *batch) (int, error)
	// interrupt ends a send that waits for a peer that reads nothing. All later sends fail.
	interrupt()
	// close closes the connection once the peer has received everything, as far as the protocol can tell.
	close(ctx context.Context) error
	// abort closes the connection immediately.
	abort()
}

// target is one receiver of lines. Several conns send to it.
type target struct {
	url   string
	parts *targetURL
	conns []conn
	lines uint64
	bytes uint64
}

// targetURL is the parsed URL of a target.
type targetURL struct {
	scheme, host, framing string
	format                fwlog.Format
	window                int
	tls                   *tls.Config
}

// parseTarget parses the URL of a target. The error names every mistake in it.
func parseTarget(raw string) (*targetURL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return nil, fmt.Errorf("this is no URL of a target: use %s", targetForms) // without the URL, which may contain a password
	}
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	q := u.Query()
	take := func(name string) string { v := q.Get(name); q.Del(name); return v }
	t := &targetURL{scheme: u.Scheme, host: u.Host, window: 128}
	switch u.Scheme {
	case "tcp", "tls":
		if t.framing = take("framing"); t.framing == "" {
			t.framing = "newline"
		}
		if !slices.Contains(framings, t.framing) {
			bad("use framing=%s", strings.Join(framings, "|"))
		}
	case "relp", "relps":
		if v := take("window"); v != "" {
			if t.window, err = strconv.Atoi(v); err != nil || t.window < 1 || t.window > 1<<16 {
				bad("window=%s: 1 to %d", v, 1<<16)
			}
		}
	case "udp":
	default:
		return nil, fmt.Errorf("use %s", targetForms)
	}
	if f := take("format"); f != "" {
		i := slices.Index(fwlog.Formats, f)
		if i < 0 {
			bad("use format=%s", strings.Join(fwlog.Formats, "|"))
		}
		t.format = fwlog.Format(max(0, i))
	}
	if strings.HasSuffix(u.Scheme, "s") {
		if t.tls, err = tlsConfig(take("ca"), take("cert"), take("key"), take("name"), u.Hostname()); err != nil {
			bad("%w", err)
		}
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" {
		bad("the port is missing")
	}
	for name := range q {
		bad("%s has no parameter %q", u.Scheme, name)
	}
	return t, errors.Join(errs...)
}

// tlsConfig returns the configuration of a client. ca is a file of certificates to trust instead of the system's.
func tlsConfig(ca, cert, key, name, host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if name == "" {
		c.ServerName = host
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// dial opens the connections to a target. size is the size of every line; 0 if sizes differ.
func dial(ctx context.Context, raw string, conns, size int) (*target, error) {
	parts, err := parseTarget(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: -to %s: %w", errUsage, raw, err)
	}
	t := &target{url: raw, parts: parts}
	for range conns {
		c, err := parts.dial(ctx, size)
		if err != nil {
			t.abort()
			return nil, fmt.Errorf("%s: %w", raw, err)
		}
		t.conns = append(t.conns, c)
	}
	return t, nil
}

func (u *targetURL) dial(ctx context.Context, size int) (conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	network := "tcp"
	if u.scheme == "udp" {
		network = "udp"
	}
	c, err := new(net.Dialer).DialContext(ctx, network, u.host)
	if err != nil {
		return nil, err
	}
	if u.scheme == "udp" {
		return newDatagrams(c.(*net.UDPConn), size), nil
	}
	if u.tls != nil {
		secure := tls.Client(c, u.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		c = secure
	}
	if u.framing == "" {
		return openRELP(c, u.window)
	}
	return &stream{Conn: c, framing: u.framing}, nil
}

// send sends a burst over the conn of a source. It returns how many lines the kernel has accepted.
func (t *target) send(source int, b *batch) (int, error) {
	n, err := t.conns[source].send(b)
	t.lines += uint64(n)
	if n > 0 {
		t.bytes += uint64(b.ends[n-1])
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", t.url, err)
	}
	return n, err
}

// acked returns how many lines the peers have confirmed; acks reports whether they confirm lines at all.
func (t *target) acked() (n uint64, acks bool) {
	for _, c := range t.conns {
		if r, ok := c.(*relpConn); ok {
			n, acks = n+r.acked.Load(), true
		}
	}
	return n, acks
}

// interrupt ends a send that waits for a peer that reads nothing. All later sends fail.
func (t *target) interrupt() {
	for _, c := range t.conns {
		c.interrupt()
	}
}

// errSilent means that a peer has not shown that it has received everything.
var errSilent = errors.New("the peer has not closed its side")

// close ends the connections.
func (t *target) close(ctx context.Context) error {
	errs := make([]error, len(t.conns))
	var wg sync.WaitGroup
	for i, c := range t.conns {
		wg.Go(func() { errs[i] = c.close(ctx) })
	}
	wg.Wait()
	silent := 0
	errs = slices.DeleteFunc(errs, func(err error) bool {
		late := errors.Is(err, errSilent)
		if late {
			silent++
		}
		return late
	})
	if silent > 0 {
		errs = append(errs, fmt.Errorf("%s: the peer has not closed its side of %d of %d connections: whether it has read everything is unknown",
			t.url, silent, len(t.conns)))
	}
	return errors.Join(errs...)
}

// abort closes all connections. interrupt may run at the same time.
func (t *target) abort() {
	for _, c := range t.conns {
		c.abort()
	}
}

// appendFrame appends a line, framed as framing says.
func appendFrame(dst []byte, framing string, line []byte) []byte {
	switch framing {
	case "newline":
		return append(append(dst, line...), '\n')
	case "octet":
		dst = append(strconv.AppendInt(dst, int64(len(line)), 10), ' ')
	case "len16":
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(line)))
	case "len32":
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(line)))
	}
	return append(dst, line...)
}
