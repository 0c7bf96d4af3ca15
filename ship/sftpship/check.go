package sftpship

import (
	"context"
	"crypto/rand"
	"io"
	"path"
	"strings"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

// Check implements ship.Checker: it connects, authenticates, and writes and removes a small temporary file. It logs
// the guarantees that the server lacks.
func (h *Destination) Check(ctx context.Context) error {
	return h.do(ctx, "check", func(t *turn) error {
		u := &upload{turn: t, h: h, o: ship.Object{Size: int64(len(checkText))}}
		// The check must not rely on an answer from an hour ago.
		h.dirs.clear()
		h.space.forget()
		dir := path.Join(h.place.dir, tmpDir)
		if err := u.mkdirs(h.place.dir, dir); err != nil {
			return err
		}
		if err := u.try(ctx, path.Join(dir, "check-"+rand.Text()+tmpSuffix)); err != nil {
			return err
		}
		// Logged here, once and in time: receipts name it too, but then it is too late to choose another server.
		if !u.Has("hardlink@openssh.com", "1") {
			u.note("no-hardlink")
		}
		if len(u.degraded) > 0 {
			h.o.Logger.Warn("sftpship: server lacks guarantees, which receipts name; delivery works, with the limits that the package documentation explains for each: choose another server if they matter", "location", h.Location(), "degraded", u.degraded)
		}
		return nil
	})
}

const checkText = "check\n"

// try writes a small file, measures it and removes it.
func (u *upload) try(ctx context.Context, tmp string) error {
	defer func() { u.h.left.release(u.noted...) }()
	space, created := u.askSpace(), u.Open(tmp, sftpc.Write|sftpc.Create|sftpc.Excl)
	u.mayLeave(tmp)
	f, err := created.Wait()
	if err != nil {
		return first(u.enough(space), u.h.explain(tmp, u.noRoom(err)))
	}
	u.tmp = tmp
	defer func() {
		if u.tmp != "" {
			u.discard()
		}
	}()
	if err := u.enough(space); err != nil {
		u.Close(f)
		return err
	}
	read, err := u.send(ctx, f, io.NewSectionReader(strings.NewReader(checkText), 0, int64(len(checkText))))
	if err != nil {
		return err
	}
	u.Close(read)
	// Reported now: if the account may not delete, the directory grows with every upload.
	if err := u.Remove(tmp).Err(); !u.gone(err) {
		return u.h.explain(tmp, err)
	}
	u.h.left.remove(tmp)
	u.tmp = ""
	return nil
}
