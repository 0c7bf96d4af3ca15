package sftpship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

const (
	// readMost is how many bytes are requested at a time at high latency: an object of that size takes one round trip.
	readMost = 8 << 20
	// readLeast is the same at low latency: any more would only wait in the server.
	readLeast = 4 << 20
)

// send writes the body to the temporary file, as durable as the server can make it, and opens it again for reading. Size
// and handle are requested by name, after the file was closed: an answer to the first handle would not show that the name
// now refers to another file.
func (u *upload) send(ctx context.Context, file sftpc.Handle, body *io.SectionReader) (read sftpc.Handle, err error) {
	begin := time.Now()
	writes, err := u.write(ctx, file, body)
	if err != nil || !u.s.ordered {
		if err = first(err, flush(writes)); err != nil {
			u.Close(file)
			return "", u.h.explain(u.tmp, u.noRoom(err))
		}
		writes = nil
	}
	// Sync before the verification, not after: the verified bytes must be the durable ones. A failed fsync is final for
	// the file (Linux drops the dirty pages and reports success the next time), and the next attempt makes a new one.
	synced := inOrder(u, u.sync(file))
	// The answer to closing may report a write that failed late.
	closed := inOrder(u, u.Close(file))
	measured, opened := u.Stat(u.tmp), u.Open(u.tmp, sftpc.Read)
	// Each write's answer counts, even if other requests were sent before it came.
	err = first(flush(writes), fsyncError(synced.Err()), closed.Err())
	u.sending = time.Since(begin)
	a, serr := measured.Wait()
	read, oerr := opened.Wait()
	switch {
	case err != nil:
		err = u.noRoom(err)
	case serr != nil:
		err = serr
	case !a.HasSize:
		err = ship.Permanent(errNoSize)
	case a.Size != u.o.Size:
		err = fmt.Errorf("%w: %d bytes arrived of %d", ship.ErrVerify, a.Size, u.o.Size)
	case oerr != nil:
		err = oerr
	}
	if err == nil {
		return read, nil
	}
	if oerr == nil {
		u.Close(read)
	}
	return "", u.h.explain(u.tmp, err)
}

var errNoSize = errors.New("the server does not tell the size of a file, so that nothing can be verified: use another server")

// inOrder ensures that the server carries out later requests after this one. Unless the server keeps the order of
// requests, it awaits the answer first.
func inOrder[T any](u *upload, p *sftpc.Pending[T]) *sftpc.Pending[T] {
	if !u.s.ordered {
		_ = p.Err()
	}
	return p
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// flush awaits the answers to writes and returns the first refusal.
func flush(writes []*sftpc.Pending[sftpc.Void]) (err error) {
	for _, p := range writes {
		_, werr := p.Flow()
		err = first(err, werr)
	}
	return err
}

// write sends the body, with as much in flight as the connection holds. It returns the writes that are not answered yet.
func (u *upload) write(ctx context.Context, file sftpc.Handle, body *io.SectionReader) (writes []*sftpc.Pending[sftpc.Void], err error) {
	flight := u.s.trip.requests(u.s.packet)
	buf := make([]byte, min(int64(u.s.packet), u.o.Size))
	// Read by offset, from the first byte: in a retry, the caller's own position may be anywhere.
	for off := int64(0); off < u.o.Size; {
		if err := ctx.Err(); err != nil {
			return writes, err
		}
		want := min(int64(len(buf)), u.o.Size-off)
		n, err := body.ReadAt(buf[:want], off)
		if int64(n) < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // shorter than it says; this must not look like the regular end of a body
			}
			return writes, fmt.Errorf("reading the object: %w", err)
		}
		if len(writes) == flight {
			_, err := writes[0].Flow()
			if writes = writes[1:]; err != nil {
				return writes, err
			}
		}
		writes = append(writes, u.WriteAt(file, buf[:n], off)) // buf is free again when it returns
		off += int64(n)
	}
	return writes, nil
}

// part is a range of a file that was requested.
type part struct {
	answer *sftpc.Pending[int]
	file   sftpc.Handle
	buf    []byte
	off    int64
}

// download reads a file from off to end, and calls sink with the bytes in order; sink must not keep them. A server may
// answer with fewer bytes than were requested. If the file ends before end, that is an error.
func (t *turn) download(ctx context.Context, file sftpc.Handle, off, end int64, sink func([]byte)) (err error) {
	step := int64(t.s.packet)
	packets := func(bytes int64) int { return int(min((bytes+step-1)/step, requests)) }
	flight := max(packets(readLeast), min(packets(readMost), t.s.trip.requests(t.s.packet)))
	var parts []part
	var free []byte // the buffer that sink got last
	defer func() {
		for _, p := range parts {
			_, _ = p.answer.Flow() // until then the buffers are not ours
		}
	}()
	for off < end || len(parts) > 0 {
		for off < end && len(parts) < flight {
			buf := free
			if free = nil; buf == nil {
				buf = make([]byte, min(step, end-off))
			}
			buf = buf[:min(int64(cap(buf)), end-off)]
			parts = append(parts, part{t.ReadAt(file, buf, off), file, buf, off})
			off += int64(len(buf))
		}
		p := parts[0]
		parts = parts[1:]
		if err = ctx.Err(); err == nil {
			err = t.complete(p, off == end && len(parts) == 0)
		} else {
			_, _ = p.answer.Flow()
		}
		if err != nil {
			return err
		}
		sink(p.buf)
		free = p.buf
	}
	return nil
}

// complete awaits a part, and asks again for what is missing of it.
func (t *turn) complete(p part, last bool) error {
	for got := 0; ; {
		var n int
		var err error
		if last {
			n, err = p.answer.Wait()
		} else {
			n, err = p.answer.Flow()
		}
		got += n
		switch {
		case err == nil && got == len(p.buf):
			return nil
		case errors.Is(err, io.EOF), err == nil && n == 0:
			return fmt.Errorf("read: %w at offset %d", io.ErrUnexpectedEOF, p.off+int64(got))
		case err != nil:
			return err
		}
		p.answer = t.ReadAt(p.file, p.buf[got:], p.off+int64(got))
	}
}
