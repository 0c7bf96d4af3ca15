package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// relpConn sends lines over RELP. The peer confirms each line; at most window lines are unconfirmed.
type relpConn struct {
	net.Conn
	txnr  int           // of the last frame
	room  chan struct{} // contains an element for each unconfirmed frame
	acked atomic.Uint64
	sent  uint64
	buf   []byte
	ends  []int

	closing atomic.Int64  // the number of the frame that ends the session; 0: none yet
	ended   chan struct{} // closed after err is set: nothing more will be confirmed
	err     error
	told    bool // send has returned err
}

const (
	relpOffer   = "relp_version=0\nrelp_software=penstock-loadgen\ncommands=syslog"
	maxTxnr     = 999_999_999
	maxResponse = 64 << 10
)

// openRELP opens a session.
func openRELP(c net.Conn, window int) (conn, error) {
	r := &relpConn{Conn: c, room: make(chan struct{}, window), ended: make(chan struct{})}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	_, err := c.Write(r.frame(nil, "open", []byte(relpOffer)))
	if err == nil {
		var answer response
		if answer, err = readResponse(in); err == nil && (answer.txnr != 1 || answer.code != 200) {
			err = fmt.Errorf("relp: the peer refuses the session: %d %s", answer.code, answer.text)
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	go r.read(in)
	return r, nil
}

// frame appends a frame to dst.
func (r *relpConn) frame(dst []byte, command string, data []byte) []byte {
	r.txnr = r.txnr%maxTxnr + 1
	dst = append(append(strconv.AppendInt(dst, int64(r.txnr), 10), ' '), command...)
	dst = strconv.AppendInt(append(dst, ' '), int64(len(data)), 10)
	if len(data) > 0 {
		dst = append(append(dst, ' '), data...)
	}
	return append(dst, '\n')
}

// read reads the peer's confirmations until an error or the end of the connection. It does not close the connection; abort and
// close do.
func (r *relpConn) read(in *bufio.Reader) {
	defer close(r.ended)
	for want := 2; ; want = want%maxTxnr + 1 {
		a, err := readResponse(in)
		switch {
		case err != nil:
			r.err = err
		case a.command == "serverclose":
			r.err = errors.New("relp: the peer closes the session")
		case a.txnr != want:
			r.err = fmt.Errorf("relp: the peer answers frame %d, expected %d", a.txnr, want)
		case int64(a.txnr) == r.closing.Load(): // some peers answer with a code, some without
			r.err = io.EOF
		case a.code != 200:
			r.err = fmt.Errorf("relp: the peer refuses a line: %d %s", a.code, a.text)
		}
		if r.err != nil {
			return
		}
		select {
		case <-r.room:
			r.acked.Add(1)
		default:
			r.err = errors.New("relp: the peer confirms more than was sent")
			return
		}
	}
}

func (r *relpConn) send(b *batch) (int, error) {
	done := 0
	for done < len(b.ends) {
		n, err := r.reserve(len(b.ends) - done)
		if err != nil {
			return done, err
		}
		r.buf, r.ends = r.buf[:0], r.ends[:0]
		for i := range n {
			r.buf = r.frame(r.buf, "syslog", b.line(done+i))
			r.ends = append(r.ends, len(r.buf))
		}
		written, err := r.Write(r.buf)
		n = whole(r.ends, written)
		done += n
		r.sent += uint64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// reserve waits for room in the window, and takes as many places as are free, at most most.
func (r *relpConn) reserve(most int) (n int, err error) {
	select {
	case r.room <- struct{}{}:
		n = 1
	case <-r.ended:
		r.told = true
		return 0, r.lost()
	}
	for ; n < most; n++ {
		select {
		case r.room <- struct{}{}:
		default:
			return n, nil
		}
	}
	return n, nil
}

// lost returns why the peer confirms nothing more.
func (r *relpConn) lost() error {
	return fmt.Errorf("%w (%d of %d lines are confirmed)", r.err, r.acked.Load(), r.sent)
}

// interrupt also ends a wait for the window: the read deadline ends the reader.
func (r *relpConn) interrupt() {
	_ = r.SetWriteDeadline(past)
	_ = r.SetReadDeadline(time.Now().Add(lastTime))
}

func (r *relpConn) abort() {
	_ = r.Conn.Close()
	<-r.ended
}

// close waits until the peer has confirmed everything, and ends the session. The peer answers in order, so its answer to close
// comes after all others.
func (r *relpConn) close(ctx context.Context) error {
	defer r.abort()
	_ = r.SetReadDeadline(time.Now().Add(answerTime))
	defer context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now().Add(lastTime)) })()
	last := r.frame(nil, "close", nil)
	r.closing.Store(int64(r.txnr))
	if _, err := r.Write(last); err != nil && ctx.Err() == nil && !r.told {
		return err
	}
	<-r.ended
	switch {
	case r.acked.Load() == r.sent && (errors.Is(r.err, io.EOF) || r.err == nil):
		return nil
	case r.told:
		return nil
	case errors.Is(r.err, os.ErrDeadlineExceeded) && r.acked.Load() == r.sent:
		return errSilent
	}
	return r.lost()
}

// response is a frame from a RELP server.
type response struct {
	txnr    int
	command string
	code    int // 0: none, as in the answer to close
	text    []byte
}

var errResponse = errors.New("relp: the peer's answer is no RELP frame")

// readResponse reads one frame.
func readResponse(in *bufio.Reader) (a response, err error) {
	if a.txnr, err = readNumber(in, ' '); err != nil {
		return a, err
	}
	var command [33]byte
	n := 0
	for ; n < len(command); n++ {
		if command[n], err = in.ReadByte(); err != nil {
			return a, unexpected(err)
		}
		if command[n] == ' ' {
			break
		}
	}
	a.command = string(command[:n])
	if a.command != "rsp" && a.command != "serverclose" {
		return a, errResponse
	}
	size, err := readNumber(in, 0)
	if err != nil {
		return a, unexpected(err)
	}
	if size > maxResponse {
		return a, fmt.Errorf("relp: the peer's answer has %d bytes", size)
	}
	data := make([]byte, size+1)
	end, err := in.ReadByte()
	if err == nil && end == ' ' {
		_, err = io.ReadFull(in, data)
		end = data[size]
	} else if err == nil && size > 0 {
		return a, errResponse
	}
	if err != nil {
		return a, unexpected(err)
	}
	if end != '\n' {
		return a, errResponse
	}
	return a, a.read(data[:size])
}

// read reads the data of an answer: a code of three digits, a space and a text.
func (a *response) read(data []byte) (err error) {
	if len(data) == 0 {
		return nil
	}
	code, text, _ := bytes.Cut(data, []byte(" "))
	if a.code, err = strconv.Atoi(string(code)); err != nil || len(code) != 3 || a.code < 100 {
		return errResponse
	}
	a.text, _, _ = bytes.Cut(text, []byte("\n"))
	return nil
}

// readNumber reads 1 to 9 digits and the byte end that follows; with end 0 it leaves a space or LF unread for the caller.
func readNumber(in *bufio.Reader, end byte) (v int, err error) {
	for i := 0; ; i++ {
		c, err := in.ReadByte()
		if err != nil {
			if i == 0 {
				return 0, err // io.EOF between frames is a regular end
			}
			return 0, unexpected(err)
		}
		if c >= '0' && c <= '9' && i < 9 {
			v = 10*v + int(c-'0')
			continue
		}
		if i > 0 && (c == end || end == 0 && (c == ' ' || c == '\n')) {
			if end == 0 {
				err = in.UnreadByte()
			}
			return v, err
		}
		return 0, errResponse
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
