package sftpc

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Client is a channel to an SFTP server. Any number of goroutines may use it, each with its own Exchange.
type Client struct {
	w          io.WriteCloser
	extensions map[string]string

	sending sync.Mutex // one request is written at a time

	mu      sync.Mutex
	waiting map[uint32]*answer
	next    uint32
	err     error // why no more requests can be sent

	running sync.WaitGroup
}

// answer is where the reader stores the response to one request.
type answer struct {
	exchange *Exchange
	round    int    // the round trip of the exchange to which it belongs
	dst      []byte // for data
	done     chan struct{}

	kind byte
	body []byte // after the id; nil for data, which is in dst
	n    int    // number of bytes in dst
	err  error
}

// New agrees on version 3 with the server and starts to read answers. If New fails, the caller must close the channel,
// otherwise the Client.
func New(r io.Reader, w io.WriteCloser) (*Client, error) {
	c := &Client{w: w, extensions: make(map[string]string), waiting: make(map[uint32]*answer)}
	if _, err := w.Write([]byte{0, 0, 0, 5, fxpInit, 0, 0, 0, 3}); err != nil {
		return nil, err
	}
	br := bufio.NewReaderSize(r, 64<<10)
	kind, left, err := header(br)
	if err != nil {
		return nil, err
	}
	f := fields{b: make([]byte, left)}
	if _, err := io.ReadFull(br, f.b); err != nil {
		return nil, err
	}
	if version := f.uint32(); kind != fxpVersion || f.bad || version != 3 {
		return nil, fmt.Errorf("sftp: the server does not speak version 3 (packet %d, version %d)", kind, version)
	}
	for len(f.b) > 0 && !f.bad {
		name, data := f.string(), f.string()
		if !f.bad {
			c.extensions[name] = data
		}
	}
	c.running.Go(func() { c.receive(br) })
	return c, nil
}

// header reads the length and the type of a packet.
func header(r io.Reader) (kind byte, left int, err error) {
	var h [5]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, 0, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n < 1 || n > maxPacket {
		return 0, 0, fmt.Errorf("%w: a packet of %d bytes", errFormat, n)
	}
	return h[4], int(n) - 1, nil
}

// Has reports whether the server offers this version of an extension.
func (c *Client) Has(name, version string) bool {
	v, ok := c.extensions[name]
	return ok && v == version
}

// Close closes the channel and waits for the reader, which ends when the channel does. It first waits for a request that is
// being written; if the server reads nothing, that ends only with the underlying connection.
func (c *Client) Close() error {
	c.sending.Lock()
	err := c.w.Close()
	c.sending.Unlock()
	c.running.Wait()
	return err
}

// receive distributes the answers until the channel ends.
func (c *Client) receive(r *bufio.Reader) {
	for {
		if err := c.receiveOne(r); err != nil {
			// This includes a malformed answer: nothing after it can be trusted. The owner closes the channel.
			c.fail(fmt.Errorf("%w (%v)", ErrConnectionLost, err))
			return
		}
	}
}

func (c *Client) receiveOne(r *bufio.Reader) error {
	kind, left, err := header(r)
	if err != nil {
		return err
	}
	var id [4]byte
	if left -= 4; left < 0 {
		return errFormat
	}
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return err
	}
	c.mu.Lock()
	a, ok := c.waiting[binary.BigEndian.Uint32(id[:])]
	delete(c.waiting, binary.BigEndian.Uint32(id[:]))
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: an answer that nobody asked for", errFormat)
	}
	a.kind = kind
	if kind == fxpData {
		err = a.data(r, left)
	} else {
		a.body = make([]byte, left)
		_, err = io.ReadFull(r, a.body)
	}
	if err != nil {
		a.finish(fmt.Errorf("%w (%v)", ErrConnectionLost, err))
		return err
	}
	a.finish(nil)
	return nil
}

// data reads the data of an answer into the caller's buffer.
func (a *answer) data(r *bufio.Reader, left int) error {
	var h [4]byte
	if left < 4 {
		return errFormat
	}
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(h[:]))
	if n != left-4 || n > len(a.dst) {
		return fmt.Errorf("%w: %d bytes of data, %d were asked for", errFormat, n, len(a.dst))
	}
	a.n = n
	_, err := io.ReadFull(r, a.dst[:n])
	return err
}

func (a *answer) finish(err error) {
	a.err = err
	if err == nil {
		a.exchange.heard()
	}
	close(a.done)
}

// fail fails all waiting and all future requests.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	for id, a := range c.waiting {
		delete(c.waiting, id)
		a.finish(c.err)
	}
}

// send sends a request. It may block while the server reads nothing. data follows p, and is not copied.
func (c *Client) send(a *answer, p packet, data []byte) {
	c.mu.Lock()
	if c.err != nil {
		a.finish(c.err)
		c.mu.Unlock()
		return
	}
	c.next++
	id := c.next
	c.waiting[id] = a
	c.mu.Unlock()

	c.sending.Lock()
	defer c.sending.Unlock()
	p.finish(id, len(data))
	_, err := c.w.Write(p)
	if err == nil && len(data) > 0 {
		_, err = c.w.Write(data)
	}
	if err != nil {
		// Part of the request may have been sent, so no other can follow it.
		c.fail(fmt.Errorf("%w (%v)", ErrConnectionLost, err))
	}
}
