package sftpship

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/penstock-go/penstock/ship"
)

// Check implements ship.Checker: it connects, authenticates, and writes and removes a small temporary file. What the
// server cannot do is logged.
func (h *Host) Check(ctx context.Context) error {
	return h.do(ctx, "check", func(s *session) error {
		u := &upload{session: s, h: h, o: ship.Object{Size: 6}}
		h.forgetDirs() // what was true an hour ago is what shall be checked
		if err := u.mkdirs(h.place.dir); err != nil {
			return err
		}
		dir := path.Join(h.place.dir, tmpDir)
		if err := u.mkdirs(dir); err != nil {
			return err
		}
		if err := u.room(); err != nil {
			return err
		}
		tmp := path.Join(dir, "check-"+rand.Text()+tmpSuffix)
		f, err := s.sftp.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err != nil {
			return h.explain(tmp, err)
		}
		_, err = f.Write([]byte("check\n"))
		if err == nil {
			err = u.sync(f)
		}
		if err = errors.Join(err, f.Close()); err == nil {
			var fi os.FileInfo
			if fi, err = s.stat(tmp); err == nil && fi.Size() != 6 {
				err = fmt.Errorf("%d bytes arrived of 6", fi.Size())
			}
		}
		if err := errors.Join(err, s.sftp.Remove(tmp)); err != nil {
			return h.explain(tmp, u.noRoom(err))
		}
		// Said here, once and in time: receipts say it of each object, when it is too late to choose another server.
		if !u.has("hardlink@openssh.com", "1") {
			u.note("no-hardlink")
		}
		if len(u.degraded) > 0 {
			h.o.Logger.Warn("server lacks guarantees", "at", h.Location(), "degraded", u.degraded)
		}
		return nil
	})
}
