package sftpship

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

// publish gives the verified temporary file the key's name without ever replacing what is there. It returns the method by
// which the object was verified. That is not the given one if another upload has published the same bytes.
func (u *upload) publish(ctx context.Context, method string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	err := sftpc.ErrUnsupported
	if u.Has("hardlink@openssh.com", "1") && u.h.links.Load() != linksLie {
		err = u.link(ctx)
	}
	if err == nil {
		return method, nil
	}
	if !settled(err) || errors.Is(err, errTaken) || u.tmp == "" {
		return "", err
	}
	// Either the name is taken, or there are no hard links here: servers have one status for both.
	if taken, err := u.present(ctx); err != nil || taken != "" {
		return taken, err
	}
	if taken, err := u.rename(ctx); err != nil || taken != "" {
		return taken, err
	}
	return method, nil
}

// link publishes by link(2), which fails if the name exists, on every system. It removes the temporary file only after it
// has seen the object under its key, because some servers confirm a link and make none.
func (u *upload) link(ctx context.Context) error {
	parent := path.Dir(u.key)
	var there sftpc.Attrs
	var lookErr error
	var dir *sftpc.Pending[sftpc.Handle]
	err := u.within([]string{parent}, func() error {
		linked := inOrder(u, u.Link(u.tmp, u.key))
		looked := u.Stat(u.key)
		dir = u.openDir(parent)
		there, lookErr = looked.Wait()
		if err := linked.Err(); err != nil {
			u.closeDir(dir)
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := u.published(ctx, there, lookErr); err != nil {
		u.closeDir(dir)
		if errors.Is(err, errTaken) && !u.linksWork() {
			return sftpc.ErrUnsupported
		}
		return err
	}
	u.h.links.Store(linksProven)
	wait := u.startSyncDir(dir)
	// Look for the object once more when its name is durable: a program that takes files away needs a moment.
	looked, removed := u.Stat(u.key), u.Remove(u.tmp)
	wait()
	there, lookErr = looked.Wait()
	if u.gone(removed.Err()) {
		u.h.left.remove(u.tmp)
	}
	u.tmp = ""
	return u.published(ctx, there, lookErr)
}

// What is known of a server's hard links.
const (
	linksProven = 1 // one was seen
	linksLie    = 2 // the server says that it made one, and made none
)

// linksWork tries a hard link in the directory of temporary files, where no other program looks: an object that is not
// there after it was linked was either taken away, or never linked.
func (u *upload) linksWork() bool {
	if u.h.links.Load() == linksProven {
		return true
	}
	name := u.tmp + ".link" + tmpSuffix
	u.mayLeave(name)
	linked := inOrder(u, u.Link(u.tmp, name))
	_, err := u.Stat(name).Wait()
	removed := inOrder(u, u.Remove(name))
	if u.gone(removed.Err()) {
		u.h.left.remove(name)
	}
	if linked.Err() == nil && err != nil && settled(err) {
		u.h.links.Store(linksLie)
		u.h.o.Logger.Warn("sftpship: the server confirms hard links and makes none: objects are published by renaming", "location", u.h.Location())
		return false
	}
	return true
}

// errTaken is not fs.ErrNotExist: that would tell the caller that the object was never there.
var errTaken = errors.New("not found right after it was stored")

// published checks the answer about the key after the object was published.
func (u *upload) published(ctx context.Context, there sftpc.Attrs, err error) error {
	switch {
	case err != nil && (errors.Is(err, fs.ErrNotExist) || u.missing(ctx, u.key, err)):
		return ship.Permanent(fmt.Errorf("%w: something takes files away from %s as soon as they have their name: let it copy them, or give it another directory than the one that Penstock delivers to; until then the same object would be delivered again and again", errTaken, u.h.place.dir))
	case err != nil:
		return u.h.explain(u.key, err)
	case there.Size != u.o.Size:
		return fmt.Errorf("%w: %d bytes after publishing, not %d", ship.ErrVerify, there.Size, u.o.Size)
	}
	return nil
}

// rename publishes if there are no hard links. A version 3 rename fails if the name exists (draft-ietf-secsh-filexfer-02,
// section 6.5), but many servers replace the file. So every upload that renames first claims the key, by creating a file
// exclusively, and then looks again.
func (u *upload) rename(ctx context.Context) (taken string, err error) {
	u.note("no-hardlink")
	// Uploads of this Destination wait for each other; only those of others fail and are retried later.
	select {
	case u.h.renaming <- struct{}{}:
		defer func() { <-u.h.renaming }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	claims := path.Join(u.h.place.dir, tmpDir, "claims")
	claim := path.Join(claims, fmt.Sprintf("%x", sha256.Sum256([]byte(u.o.Key)))+tmpSuffix)
	var f sftpc.Handle
	err = u.within([]string{claims}, func() (err error) {
		f, err = u.Open(claim, sftpc.Write|sftpc.Create|sftpc.Excl).Wait()
		return err
	})
	if err != nil {
		u.dropStale(claim)
		return "", fmt.Errorf("another upload of this key seems to be under way (%s): %w", claim, err)
	}
	defer func() { _ = u.Remove(claim).Err() }()
	if err := u.Close(f).Err(); err != nil {
		return "", u.h.explain(claim, err)
	}
	if taken, err := u.present(ctx); err != nil || taken != "" {
		return taken, err
	}
	parent := path.Dir(u.key)
	err = u.within([]string{parent}, func() error { return u.Rename(u.tmp, u.key).Err() })
	if err != nil {
		return "", u.noRename(err)
	}
	u.h.left.remove(u.tmp)
	u.tmp = ""
	looked := u.Stat(u.key)
	dir := u.openDir(parent)
	there, err := looked.Wait()
	u.syncDir(dir)
	return "", u.published(ctx, there, err)
}

// noRename names the operation that a server refuses, without which nothing can be published there.
func (u *upload) noRename(err error) error {
	if errors.Is(err, sftpc.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		return ship.Permanent(fmt.Errorf("rename %s to %s: %w: the server lets user %q neither make hard links nor rename, so that an object cannot be given its name when it is complete: allow one of the two for this account (with OpenSSH, remove hardlink or rename from the list after -P, or add it to the list after -p, of internal-sftp)",
			u.tmp, u.key, err, u.h.place.user))
	}
	return fmt.Errorf("rename %s to %s: %w", u.tmp, u.key, err)
}

// dropStale removes a claim whose owner has died. A live owner holds it for a few requests, each of which ends within
// AnswerTimeout.
func (u *upload) dropStale(claim string) {
	own, held := u.Stat(u.tmp), u.Stat(claim)
	mine, err := own.Wait()
	theirs, herr := held.Wait()
	if first(err, herr) == nil && mine.MTime.Sub(theirs.MTime) > 4*u.h.o.AnswerTimeout {
		_ = u.Remove(claim).Err()
	}
}
