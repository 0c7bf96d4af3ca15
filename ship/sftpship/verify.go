package sftpship

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

// Receipt.Method values.
const (
	methodExec     = "remote-sha256sum" // with either command
	methodReadBack = "read-back"
)

const (
	// execFrom is the size from which VerifyAuto prefers the remote command: for a smaller object, reading back is faster than
	// starting a process.
	execFrom = 8 << 20
	// execAgain is the time after which VerifyAuto tries the remote command again if it was of no use.
	execAgain = time.Hour
	// execWorth times the upload is how long the remote command may take: reading back costs about as much as the upload again,
	// at both ends and on the network between them.
	execWorth = 3
)

// hash returns the SHA-256 of a file as the server has it, and how it was found; handle is the file, open for reading. Under
// VerifyAuto, the remote command's hash is accepted if it is that of the object. Otherwise the file is read back, because the
// command may see other files than the SFTP server (a chroot, a virtual file system). If it is right, the command is not tried
// for execAgain.
func (u *upload) hash(ctx context.Context, file string, handle sftpc.Handle, size int64) (method string, sum [32]byte, err error) {
	if err := ctx.Err(); err != nil {
		return "", sum, err
	}
	policy := u.h.o.Verify
	exec := policy == VerifyExec || policy == VerifyAuto && size >= u.h.execFrom && time.Now().UnixNano() >= u.h.execNext.Load()
	if exec {
		sum, took, err := u.remoteSum(ctx, file, size)
		if policy == VerifyExec && errors.Is(err, errNoExec) {
			err = ship.Permanent(fmt.Errorf("%w: allow user %q to execute it, or use verify=readback", err, u.h.place.user))
		}
		if policy == VerifyExec || err == nil && sum == u.o.SHA256 || err != nil && !errors.Is(err, errNoExec) {
			if policy == VerifyAuto && err == nil && u.sending > 0 && took > execWorth*u.sending {
				// sshd runs a login shell first, whose start-up files may take seconds: longer than the bytes need.
				u.h.readBack("the remote hash takes far longer than the upload: objects are read back for an hour",
					"command", took, "upload", u.sending)
			}
			return methodExec, sum, err
		}
	}
	sum, err = u.readBack(ctx, file, handle, size)
	if exec && err == nil && sum == u.o.SHA256 {
		u.h.readBack("no remote sha256sum: objects are read back for an hour")
	}
	return methodReadBack, sum, err
}

// readBack makes VerifyAuto read objects back for execAgain.
func (h *Destination) readBack(why string, args ...any) {
	h.execNext.Store(time.Now().Add(execAgain).UnixNano())
	h.o.Logger.Info("sftpship: "+why, append(args, "location", h.Location())...)
}

// readBack hashes a file by reading it.
func (u *upload) readBack(ctx context.Context, file string, handle sftpc.Handle, size int64) (sum [32]byte, err error) {
	h := sha256.New()
	// Hashing takes a tenth of the time that SSH takes to bring the bytes.
	if err := u.download(ctx, handle, 0, size, func(b []byte) { h.Write(b) }); err != nil {
		return sum, u.h.explain(file, err)
	}
	return [32]byte(h.Sum(nil)), nil
}

// sumBody hashes the local bytes.
func sumBody(body *io.SectionReader) (sum [32]byte, err error) {
	h := sha256.New()
	if _, err = io.Copy(h, io.NewSectionReader(body, 0, body.Size())); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}
