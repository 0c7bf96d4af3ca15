package sftpship

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/pkg/sftp"

	"github.com/penstock-go/penstock/ship"
)

// upload is one Put on one session.
type upload struct {
	*session
	h        *Host
	o        ship.Object
	key      string        // path of the object on the server
	tmp      string        // path of the temporary file, empty while there is none
	sending  time.Duration // how long it took to send and sync; 0 if nothing was sent
	degraded []string
}

// Put implements ship.Destination. The bytes go to a temporary file, are synced, measured and hashed there, and only
// then get the key's name, by an operation that fails if the name is taken. An upload that was interrupted starts anew.
// The receipt's Method is "remote-sha256sum" or "read-back", its Checksum a SHA-256; for Degraded see the package.
func (h *Host) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if err := checkKey(o.Key); err != nil {
		return ship.Receipt{}, h.wrap("put", err)
	}
	if body.Size() != o.Size {
		return ship.Receipt{}, h.wrap("put "+o.Key, fmt.Errorf("%w: the body has %d bytes, the object %d", ship.ErrVerify, body.Size(), o.Size))
	}
	if o.Spool == "" {
		o.Spool = "none"
	}
	if checkKey(o.Spool) != nil || path.Base(o.Spool) != o.Spool {
		return ship.Receipt{}, h.wrap("put "+o.Key, fmt.Errorf("spool %q cannot name a directory", o.Spool))
	}
	var receipt ship.Receipt
	err := h.do(ctx, "put "+o.Key, func(s *session) (err error) {
		u := &upload{session: s, h: h, o: o, key: h.path(o.Key)}
		receipt, err = u.run(ctx, body)
		return err
	})
	if err != nil {
		return ship.Receipt{}, err
	}
	return receipt, nil
}

func (u *upload) run(ctx context.Context, body *io.SectionReader) (ship.Receipt, error) {
	if method, err := u.present(ctx); err != nil || method != "" {
		return u.receipt(method), err
	}
	if err := u.mkdirs(u.h.place.dir); err != nil {
		return ship.Receipt{}, err
	}
	if err := u.room(); err != nil {
		return ship.Receipt{}, err
	}
	// The name is new each time: nobody appends to what an earlier attempt has left, of which no one can say how much
	// is right, and two attempts at once do not meet.
	dir := path.Join(u.h.place.dir, tmpDir, u.o.Spool)
	err := u.within(dir, func() error { return u.send(ctx, path.Join(dir, rand.Text()+tmpSuffix), body) })
	var method string
	if err == nil {
		method, err = u.verify(ctx, body)
	}
	if err == nil {
		u.sweep(ctx, dir)
		method, err = u.publish(ctx, method)
	}
	if u.tmp != "" && u.alive() {
		_ = u.sftp.Remove(u.tmp) // what stays is swept later
	}
	return u.receipt(method), err
}

// present looks for the key. If it holds our bytes, it makes sure that they are durable (a former attempt may have been
// cut off between publishing and syncing) and returns the method by which they were verified; else ship.ErrConflict.
func (u *upload) present(ctx context.Context) (method string, err error) {
	fi, err := u.stat(u.key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", u.h.explain(u.key, err)
	case !fi.Mode().IsRegular():
		return "", fmt.Errorf("%w: %s is no regular file there (%v)", ship.ErrConflict, u.key, fi.Mode())
	case fi.Size() != u.o.Size:
		return "", fmt.Errorf("%w: %s has %d bytes there, not %d", ship.ErrConflict, u.key, fi.Size(), u.o.Size)
	}
	method, sum, err := u.hash(ctx, u.key, u.o.Size)
	switch {
	case err != nil:
		return "", err
	case sum != u.o.SHA256:
		return "", fmt.Errorf("%w: %s has SHA-256 %x there, not %x", ship.ErrConflict, u.key, sum, u.o.SHA256)
	}
	f, err := u.sftp.Open(u.key)
	if err != nil {
		return "", u.h.explain(u.key, err)
	}
	err = u.sync(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", u.h.explain(u.key, err)
	}
	u.syncDir(path.Dir(u.key))
	return method, nil
}

// send uploads to a temporary file, as durable as the server can make it.
func (u *upload) send(ctx context.Context, tmp string, body *io.SectionReader) error {
	// Not O_RDWR: some servers allow one or the other.
	f, err := u.sftp.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return u.h.explain(tmp, err)
	}
	u.tmp = tmp
	begin := time.Now()
	err = u.write(ctx, f, body)
	if err == nil {
		// Before the verification, not after: what is verified shall be what stays. A failed fsync is final for the
		// file (Linux drops the dirty pages and says yes the next time), and the next attempt makes a new one.
		err = u.sync(f)
	}
	u.sending = time.Since(begin)
	// Closing waits for the server's answer: it may report a write that failed late.
	if err := errors.Join(err, f.Close()); err != nil {
		return u.h.explain(tmp, u.noRoom(err))
	}
	return nil
}

// verify compares the temporary file with the object, by the server's account of it.
func (u *upload) verify(ctx context.Context, body *io.SectionReader) (method string, err error) {
	// By name, after Close: a handle's answer would not show that the name stands for another file.
	fi, err := u.stat(u.tmp)
	if err != nil {
		return "", u.h.explain(u.tmp, err)
	}
	if fi.Size() != u.o.Size {
		return "", fmt.Errorf("%w: %d bytes arrived of %d", ship.ErrVerify, fi.Size(), u.o.Size)
	}
	method, sum, err := u.hash(ctx, u.tmp, u.o.Size)
	if err != nil {
		return "", err
	}
	if sum != u.o.SHA256 {
		// Which side has changed the bytes decides who has to look: the staged file's disk, or the server's.
		if ours, err := sumBody(body); err == nil && ours != u.o.SHA256 {
			return "", fmt.Errorf("%w: the local bytes have changed since they were hashed: SHA-256 %x, not %x", ship.ErrVerify, ours, u.o.SHA256)
		}
		return "", fmt.Errorf("%w: SHA-256 %x arrived, not %x", ship.ErrVerify, sum, u.o.SHA256)
	}
	return method, nil
}

// write sends the body, with concurrent writes only: the sequential path of pkg/sftp (File.ReadFrom, and so io.Copy)
// takes a write error that wraps io.EOF for the end of the body and reports a truncated file as complete.
func (u *upload) write(ctx context.Context, f *sftp.File, body *io.SectionReader) error {
	// A reader of its own from the first byte: a retry may find the caller's anywhere.
	r := &cancelReader{ctx, io.NewSectionReader(body, 0, body.Size())}
	n, err := f.ReadFromWithConcurrency(r, u.trip.requests(u.packet))
	if err == nil && n != u.o.Size {
		err = io.ErrUnexpectedEOF // the body is shorter than it says
	}
	if errors.Is(err, io.EOF) {
		// Whatever lies behind it: never the end of a body. Hidden so that nobody takes it for one.
		err = fmt.Errorf("write: %w (%v)", io.ErrUnexpectedEOF, err)
	}
	return err
}

// cancelReader ends a body when ctx does. The upload then ends by itself, and there is a connection left over which its
// temporary file can be removed.
type cancelReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// note records a guarantee that this server does not give.
func (u *upload) note(what string) {
	if !slices.Contains(u.degraded, what) {
		u.degraded = append(u.degraded, what)
	}
}

// receipt for the object, whose size and hash have been verified by method.
func (u *upload) receipt(method string) ship.Receipt {
	return ship.Receipt{
		Size:     u.o.Size,
		Checksum: ship.SHA256Checksum(u.o.SHA256),
		Method:   method,
		Time:     time.Now().UTC(),
		Degraded: u.degraded,
	}
}
