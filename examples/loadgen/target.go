package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
)

// maxBurst is how many lines are made and sent at a time: as many as one send with UDP_SEGMENT may carry.
const maxBurst = 64

// framings are the ways to cut a TCP stream into lines; stream writes them.
var framings = []string{"newline", "octet", "len16", "len32"}

// target is one receiver of lines. Several sockets send to it in turn.
type target struct {
	url     string
	framing string // TCP only
	conns   []net.Conn
	segment bool // the kernel cuts a burst into datagrams (UDP_SEGMENT)
	next    int
	lines   uint64
	buf     []byte
	line    []byte
}

// dial opens the connections to the target that a URL names.
func dial(ctx context.Context, raw string, o *sendOptions) (*target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: -to: %w", errUsage, err)
	}
	t := &target{url: raw, framing: u.Query().Get("framing")}
	switch u.Scheme {
	case "udp":
		if t.framing != "" {
			return nil, fmt.Errorf("%w: -to %s: framing is for tcp", errUsage, raw)
		}
	case "tcp":
		if t.framing == "" {
			t.framing = "newline"
		}
		if !slices.Contains(framings, t.framing) {
			return nil, fmt.Errorf("%w: -to %s: use framing=%s", errUsage, raw, strings.Join(framings, "|"))
		}
	default:
		return nil, fmt.Errorf("%w: -to %s: udp:// or tcp://", errUsage, raw)
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	for range o.sources {
		c, err := d.DialContext(ctx, u.Scheme, u.Host)
		if err != nil {
			t.abort()
			return nil, err
		}
		t.conns = append(t.conns, c)
		if uc, ok := c.(*net.UDPConn); ok {
			t.segment = setSegment(uc, o.size)
			_ = uc.SetWriteBuffer(4 << 20) // best effort: a full buffer only makes Write wait
		}
	}
	return t, nil
}

// burst makes and sends n lines over the next socket. It returns how many the kernel accepted.
func (t *target) burst(gen *fwlog.Generator, seq uint64, n, size int) (int, error) {
	i := t.next % len(t.conns)
	t.next++
	if t.framing != "" {
		return t.stream(t.conns[i], gen, i, seq, n, size)
	}
	per := 1
	if t.segment {
		per = max(1, min(n, 65507/size))
	}
	done := 0
	for done < n {
		k := min(per, n-done)
		t.buf = t.buf[:0]
		for j := range k {
			t.buf = gen.Append(t.buf, i, seq+uint64(done+j), size)
		}
		_, err := t.conns[i].Write(t.buf)
		if errors.Is(err, syscall.ECONNREFUSED) {
			// This is the answer to an earlier datagram, when nobody listened; the kernel has not sent this one. Try once more.
			_, err = t.conns[i].Write(t.buf)
		}
		if err != nil {
			return done, err
		}
		done += k
		t.lines += uint64(k)
	}
	return done, nil
}

// stream makes and sends n lines over a TCP connection.
func (t *target) stream(c net.Conn, gen *fwlog.Generator, source int, seq uint64, n, size int) (int, error) {
	t.buf = t.buf[:0]
	for j := range n {
		t.line = gen.Append(t.line[:0], source, seq+uint64(j), size)
		switch t.framing {
		case "newline":
			t.buf = append(append(t.buf, t.line...), '\n')
		case "octet":
			t.buf = append(append(strconv.AppendInt(t.buf, int64(size), 10), ' '), t.line...)
		case "len16":
			t.buf = append(binary.BigEndian.AppendUint16(t.buf, uint16(size)), t.line...)
		case "len32":
			t.buf = append(binary.BigEndian.AppendUint32(t.buf, uint32(size)), t.line...)
		}
	}
	written, err := c.Write(t.buf)
	if err != nil {
		n = written * n / len(t.buf) // whole lines, which are all of one length
	}
	t.lines += uint64(n)
	return n, err
}

// past is a deadline that ends every wait.
var past = time.Unix(1, 0)

// interrupt ends a Write that waits for a peer that reads nothing, and all later ones.
func (t *target) interrupt() {
	for _, c := range t.conns {
		_ = c.SetWriteDeadline(past)
	}
}

const (
	// answerTime is how long a peer has to close its side once it has everything.
	answerTime = 30 * time.Second
	// lastTime is the same after a signal.
	lastTime = time.Second
)

// close ends the connections. Over TCP it half-closes, and waits until the peer, which has then read everything, closes too.
func (t *target) close(ctx context.Context) error {
	errs := make([]error, len(t.conns))
	var wg sync.WaitGroup
	for i, c := range t.conns {
		wg.Go(func() { errs[i] = errors.Join(finish(ctx, c), c.Close()) })
	}
	wg.Wait()
	silent := 0
	errs = slices.DeleteFunc(errs, func(err error) bool {
		late := errors.Is(err, os.ErrDeadlineExceeded)
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

// finish half-closes a TCP connection, and waits until its peer has closed the other half.
func finish(ctx context.Context, c net.Conn) error {
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tc.CloseWrite(); err != nil {
		return err
	}
	_ = tc.SetReadDeadline(time.Now().Add(answerTime))
	defer context.AfterFunc(ctx, func() { _ = tc.SetReadDeadline(time.Now().Add(lastTime)) })()
	_, err := io.Copy(io.Discard, tc)
	return err
}

// abort closes all connections. interrupt may run at the same time.
func (t *target) abort() {
	for _, c := range t.conns {
		_ = c.Close()
	}
}
