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
	// readMost is how many bytes are asked for at a time over a long line: an object of so many is one round trip.
	readMost = 8 << 20
	// readLeast is how many where answers come at once. More would wait in the server.
	readLeast = 4 << 20
)

// send writes the body to the temporary file, as durable as the server can make it, and opens it again for reading. Size
// and handle are asked for by name and after the file was closed: an answer to the first handle would not show that the
// name stands for another file.
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
	// Before the verification, not after: what is verified must be what stays. A failed fsync is final for the file (Linux
	// drops the dirty pages and says yes the next time), and the next attempt makes a new one.
	synced := inOrder(u, u.sync(file))
	// The answer to closing may report a write that failed late.
	closed := inOrder(u, u.Close(file))
	measured, opened := u.Stat(u.tmp), u.Open(u.tmp, sftpc.Read)
	// Each write's answer counts, also of those after which all the rest was sent already.
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

// inOrder makes the requests that follow come after this one: where the server carries them out in the order in which they
// are sent, that is so; elsewhere its answer is awaited first.
func inOrder[T any](u *upload, p *sftpc.Pending[T]) *sftpc.Pending[T] {
	if !u.s.ordered {
		_ = p.Err()
	}
	return p
}

// first returns the first error.
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

// write sends the body. As much is in flight as the line holds; what is not answered yet is returned.
func (u *upload) write(ctx context.Context, file sftpc.Handle, body *io.SectionReader) (writes []*sftpc.Pending[sftpc.Void], err error) {
	flight := u.s.trip.requests(u.s.packet)
	buf := make([]byte, min(int64(u.s.packet), u.o.Size))
	// Read by offset, from the first byte: a retry may find the caller's own position anywhere.
	for off := int64(0); off < u.o.Size; {
		if err := ctx.Err(); err != nil {
			return writes, err
		}
		want := min(int64(len(buf)), u.o.Size-off)
		n, err := body.ReadAt(buf[:want], off)
		if int64(n) < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // shorter than it says; nobody must take that for the end of a body
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

// part is a stretch of a file that was asked for.
type part struct {
	answer *sftpc.Pending[int]
	file   sftpc.Handle
	buf    []byte
	off    int64
}

// download reads a file from off to end and hands the bytes on in order; sink must not keep them. A server may answer with
// less than it was asked for. The end is where the caller says it is: one that comes sooner is an error.
func (t *turn) download(ctx context.Context, file sftpc.Handle, off, end int64, sink func([]byte)) (err error) {
	step := int64(t.s.packet)
	packets := func(bytes int64) int { return int(min((bytes+step-1)/step, requests)) }
	flight := max(packets(readLeast), min(packets(readMost), t.s.trip.requests(t.s.packet)))
	var parts []part
	var free []byte // the buffer that was handed on last
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
