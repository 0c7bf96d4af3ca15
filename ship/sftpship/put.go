package sftpship

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

// smallObject is the size up to which a Put is a small operation: see share.
const smallObject = 1 << 20

// upload is one Put on one session.
type upload struct {
	*turn
	h        *Destination
	o        ship.Object
	key      string        // path of the object on the server
	tmp      string        // path of the temporary file, empty while there is none
	noted    []string      // files that may be left over
	sending  time.Duration // how long it took to send and sync; 0 if nothing was sent
	degraded []string
}

// Put implements ship.Destination. The bytes go to a temporary file, are synced, measured and hashed there, and only
// then get the key's name, by an operation that fails if the name is taken. An upload that was interrupted starts over.
// The receipt's Method is "remote-sha256sum" or "read-back", its Checksum a SHA-256; for Degraded see the package.
func (h *Destination) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
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
	err := h.run1(ctx, operation{what: "put " + o.Key, large: o.Size > smallObject, do: func(t *turn) (err error) {
		u := &upload{turn: t, h: h, o: o, key: h.path(o.Key)}
		receipt, err = u.run(ctx, body)
		return err
	}})
	if err != nil {
		return ship.Receipt{}, err
	}
	h.there.add(o.Key)
	return receipt, nil
}

// run does an upload. It sends requests together if their order does not matter, or if the server keeps it: at high
// latency, an upload costs mainly its round trips. On OpenSSH they are
//
//  1. is the key taken; create the temporary file
//  2. write, sync, close, measure, open for reading
//  3. read back
//  4. link, look for the key, open its directory
//  5. sync the directory, look again, remove the temporary file
func (u *upload) run(ctx context.Context, body *io.SectionReader) (ship.Receipt, error) {
	// A repeated Put, or one that verifies, finds its object there: it needs no temporary file.
	if u.h.there.has(u.o.Key) {
		if method, err := u.present(ctx); err != nil || method != "" {
			return u.receipt(method), err
		}
		u.h.there.remove(u.o.Key)
	}
	method, err := u.store(ctx, body)
	if u.tmp != "" {
		u.discard()
	}
	u.h.left.release(u.noted...)
	return u.receipt(method), err
}

// store uploads, verifies and publishes. It returns the method of verification.
func (u *upload) store(ctx context.Context, body *io.SectionReader) (method string, err error) {
	// The name is new each time, so that no attempt appends to the file of an earlier one, whose content is uncertain,
	// and concurrent attempts do not collide.
	dir := path.Join(u.h.place.dir, tmpDir, u.o.Spool)
	tmp := path.Join(dir, u.h.name+"-"+rand.Text()+tmpSuffix)
	var file sftpc.Handle
	var taken bool
	err = u.within([]string{dir, path.Dir(u.key)}, func() (err error) {
		file, taken, err = u.create(ctx, tmp)
		return err
	})
	if err != nil {
		return "", err
	}
	if taken {
		u.discard()
		if method, err = u.present(ctx); err != nil || method != "" {
			return method, err
		}
		return "", fmt.Errorf("%s: existed, and was gone a moment later", u.key) // the next attempt finds out
	}
	read, err := u.send(ctx, file, body)
	if err == nil {
		method, err = u.verify(ctx, read, body)
	}
	if err == nil {
		u.sweep(ctx, dir)
		method, err = u.publish(ctx, method)
	}
	return method, err
}

// create creates the temporary file, and asks in the same round trip whether the key is taken and there is room.
func (u *upload) create(ctx context.Context, tmp string) (file sftpc.Handle, taken bool, err error) {
	if err := ctx.Err(); err != nil {
		return "", false, err
	}
	begin := time.Now()
	key, space := u.Stat(u.key), u.askSpace()
	former := u.removeLeftovers()
	created := u.Open(tmp, sftpc.Write|sftpc.Create|sftpc.Excl) // not for reading too: some servers allow only one of the two
	u.mayLeave(tmp)
	_, err = key.Wait()
	u.s.measure(begin)
	file, cerr := created.Wait()
	roomErr := u.enough(space)
	u.removed(former)
	if cerr == nil {
		u.tmp = tmp
	}
	switch {
	case err == nil:
		if cerr == nil {
			u.Close(file)
		}
		return "", true, nil
	case !errors.Is(err, fs.ErrNotExist) && !unclear(err):
		err = u.h.explain(u.key, err)
	case roomErr != nil:
		err = roomErr
	case cerr != nil:
		err = u.h.explain(tmp, u.noRoom(cerr))
	default:
		return file, false, nil
	}
	if cerr == nil {
		u.Close(file)
	}
	return "", false, err
}

// present looks for the key. If it holds our bytes, it makes sure that they are durable (a former attempt may have been
// cut off between publishing and syncing) and returns the method by which they were verified; otherwise ship.ErrConflict.
func (u *upload) present(ctx context.Context) (method string, err error) {
	for range 3 {
		if method, err = u.lookAt(ctx); !errors.Is(err, errBetween) {
			return method, err
		}
	}
	return "", err
}

// errBetween: the server carries out requests concurrently, and another upload has published the key between two of them.
var errBetween = errors.New("not there for one request, and there for another one at the same time")

// lookAt is one attempt of present.
func (u *upload) lookAt(ctx context.Context) (method string, err error) {
	begin := time.Now()
	there := u.Stat(u.key)
	opened := u.Open(u.key, sftpc.Read)
	dir := u.openDir(path.Dir(u.key))
	a, err := there.Wait()
	u.s.measure(begin)
	file, oerr := opened.Wait()
	closing := func() {
		if oerr == nil {
			u.Close(file)
		}
		u.closeDir(dir)
	}
	if errors.Is(err, fs.ErrNotExist) != errors.Is(oerr, fs.ErrNotExist) && (err == nil || oerr == nil) {
		closing()
		return "", fmt.Errorf("%s: %w", u.key, errBetween)
	}
	if err != nil {
		if oerr == nil || !errors.Is(err, fs.ErrNotExist) && !u.missing(ctx, u.key, err) {
			closing()
			return "", u.h.explain(u.key, err)
		}
		u.closeDir(dir)
		return "", nil
	}
	switch {
	case a.Kind() != sftpc.Regular && a.Kind() != sftpc.Unknown:
		err = fmt.Errorf("%w: %s is no regular file there (%v)", ship.ErrConflict, u.key, a.Kind())
	case !a.HasSize:
		err = ship.Permanent(fmt.Errorf("%s: %w", u.key, errNoSize))
	case a.Size != u.o.Size:
		err = fmt.Errorf("%w: %s has %d bytes there, not %d", ship.ErrConflict, u.key, a.Size, u.o.Size)
	case oerr != nil:
		err = u.h.explain(u.key, oerr)
	}
	if err != nil {
		closing()
		return "", err
	}
	// Sync before the file is read, not after: the verified bytes must be the durable ones.
	synced, dirSynced := u.sync(file), u.startSyncDir(dir)
	method, sum, err := u.hash(ctx, u.key, file, u.o.Size)
	serr := fsyncError(synced.Err())
	dirSynced()
	u.Close(file) // it was only read
	switch {
	case err == nil && sum != u.o.SHA256:
		err = fmt.Errorf("%w: %s has SHA-256 %x there, not %x", ship.ErrConflict, u.key, sum, u.o.SHA256)
	case err == nil && serr != nil:
		err = u.h.explain(u.key, serr)
	}
	if err != nil {
		return "", err
	}
	return method, nil
}

// verify compares the hash of the temporary file, as the server has it, with that of the object.
func (u *upload) verify(ctx context.Context, file sftpc.Handle, body *io.SectionReader) (method string, err error) {
	method, sum, err := u.hash(ctx, u.tmp, file, u.o.Size)
	u.Close(file) // it was only read, so the answer does not matter
	if err != nil {
		return "", err
	}
	if sum != u.o.SHA256 {
		// Find out which side has changed the bytes, and whose disk must be checked.
		if ours, err := sumBody(body); err == nil && ours != u.o.SHA256 {
			return "", fmt.Errorf("%w: the local bytes have changed since they were hashed: SHA-256 %x, not %x", ship.ErrVerify, ours, u.o.SHA256)
		}
		return "", fmt.Errorf("%w: SHA-256 %x arrived, not %x", ship.ErrVerify, sum, u.o.SHA256)
	}
	return method, nil
}

// discard removes the temporary file of an upload that has not published it.
func (u *upload) discard() {
	if u.s.alive() && u.gone(u.Remove(u.tmp).Err()) {
		u.h.left.remove(u.tmp)
	}
	u.tmp = ""
}

// mayLeave notes a file that is left over unless it is known to be gone.
func (u *upload) mayLeave(file string) {
	u.noted = append(u.noted, file)
	u.h.left.add(file)
}

// note records a guarantee that this server does not give.
func (u *upload) note(what string) {
	if !slices.Contains(u.degraded, what) {
		u.degraded = append(u.degraded, what)
	}
}

// receipt is for the object, whose size and hash have been verified by method.
func (u *upload) receipt(method string) ship.Receipt {
	return ship.Receipt{
		Size:     u.o.Size,
		Checksum: ship.SHA256Checksum(u.o.SHA256),
		Method:   method,
		Time:     time.Now().UTC(),
		Degraded: u.degraded,
	}
}
