package sftpship

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path"

	"github.com/pkg/sftp"

	"github.com/penstock-go/penstock/ship"
)

// publish gives the verified temporary file the key's name without ever replacing what is there. It returns the method
// by which the object was verified: another one than was given if somebody else has published the same bytes.
func (u *upload) publish(ctx context.Context, method string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	err := errUnsupported
	if u.has("hardlink@openssh.com", "1") {
		// link(2) fails if the name exists, on every system.
		err = u.within(path.Dir(u.key), func() error { return u.sftp.Link(u.tmp, u.key) })
		if err == nil {
			err = u.sftp.Remove(u.tmp)
		}
	}
	if err != nil {
		if !settled(err) {
			return "", err
		}
		// Either the name is taken, or there are no hard links here: servers have one status for both.
		if taken, err := u.present(ctx); err != nil || taken != "" {
			return taken, err
		}
		if taken, err := u.rename(ctx); err != nil || taken != "" {
			return taken, err
		}
	}
	u.tmp = ""
	u.syncDir(path.Dir(u.key))
	fi, err := u.stat(u.key)
	if err != nil {
		return "", u.h.explain(u.key, err)
	}
	if fi.Size() != u.o.Size {
		return "", fmt.Errorf("%w: %d bytes after publishing, not %d", ship.ErrVerify, fi.Size(), u.o.Size)
	}
	return method, nil
}

// rename publishes where there are no hard links. A version 3 rename fails if the name exists
// (draft-ietf-secsh-filexfer-02, section 6.5), but many servers replace. So all who publish a key this way first claim
// it, by creating a file exclusively, and look again.
func (u *upload) rename(ctx context.Context) (taken string, err error) {
	u.note("no-hardlink")
	// Workers of this process wait for each other; only others are told to come back later.
	select {
	case u.h.renaming <- struct{}{}:
		defer func() { <-u.h.renaming }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	claims := path.Join(u.h.place.dir, tmpDir, "claims")
	claim := path.Join(claims, fmt.Sprintf("%x", sha256.Sum256([]byte(u.o.Key)))+tmpSuffix)
	var f *sftp.File
	err = u.within(claims, func() (err error) {
		f, err = u.sftp.OpenFile(claim, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		return err
	})
	if err != nil {
		u.dropStale(claim)
		return "", fmt.Errorf("another upload of this key seems to be under way (%s): %w", claim, err)
	}
	defer u.sftp.Remove(claim)
	if err := f.Close(); err != nil {
		return "", u.h.explain(claim, err)
	}
	if taken, err := u.present(ctx); err != nil || taken != "" {
		return taken, err
	}
	err = u.within(path.Dir(u.key), func() error { return u.sftp.Rename(u.tmp, u.key) })
	if err != nil {
		return "", u.h.explain(u.key, err)
	}
	return "", nil
}

// dropStale removes a claim whose owner has died. An owner that lives holds it for a few requests, each of which ends
// within Patience.
func (u *upload) dropStale(claim string) {
	own, err := u.stat(u.tmp)
	if err != nil {
		return
	}
	fi, err := u.stat(claim)
	if err == nil && own.ModTime().Sub(fi.ModTime()) > 4*u.h.o.Patience {
		_ = u.sftp.Remove(claim)
	}
}
