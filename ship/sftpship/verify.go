package sftpship

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

// Receipt.Method values.
const (
	methodExec     = "remote-sha256sum"
	methodReadBack = "read-back"
)

const (
	// execFrom is the size from which VerifyAuto prefers the remote command: a smaller object is read back sooner than a
	// process is started.
	execFrom = 8 << 20
	// execAgain is after which time VerifyAuto tries the remote command once more where it was of no use.
	execAgain = time.Hour
	// execWorth times the upload is how long the remote command may take: reading back costs about as much as the upload
	// again, at both ends and on the line between them.
	execWorth = 3
)

// hash returns the SHA-256 of a file as the server has it, and how it was found; handle is the file, open for reading. Under VerifyAuto the remote command's
// yes is taken; whatever else it says (it may see other files than the SFTP server: a chroot, a virtual file system) is
// settled by reading back. If that says yes, the command is not tried again for a while.
func (u *upload) hash(ctx context.Context, file string, handle sftpc.Handle, size int64) (method string, sum [32]byte, err error) {
	if err := ctx.Err(); err != nil {
		return "", sum, err
	}
	policy := u.h.o.Verify
	exec := policy == VerifyExec || policy == VerifyAuto && size >= u.h.execFrom && time.Now().UnixNano() >= u.h.execNext.Load()
	if exec {
		begin := time.Now()
		sum, err := u.remoteSum(ctx, file, size)
		if policy == VerifyExec && errors.Is(err, errNoExec) {
			err = ship.Permanent(fmt.Errorf("%w: allow user %q to execute it, or use verify=readback", err, u.h.place.user))
		}
		if policy == VerifyExec || err == nil && sum == u.o.SHA256 || err != nil && !errors.Is(err, errNoExec) {
			if took := time.Since(begin); policy == VerifyAuto && err == nil && u.sending > 0 && took > execWorth*u.sending {
				// sshd runs a login shell first, whose start-up files may take seconds: longer than the bytes need.
				u.h.readBack("remote sha256sum takes far longer than the upload: objects are read back for an hour",
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

// readBack makes VerifyAuto do without the remote command until it is tried again.
func (h *Host) readBack(why string, args ...any) {
	h.execNext.Store(time.Now().Add(execAgain).UnixNano())
	h.o.Logger.Info("sftpship: "+why, append(args, "location", h.Location())...)
}

// errNoExec: the account cannot execute sha256sum.
var errNoExec = errors.New("sha256sum gave no answer on the server")

// remoteSum has the server hash a file. It is bounded: an account's shell may well be a menu that waits for a key.
func (u *upload) remoteSum(ctx context.Context, file string, size int64) (sum [32]byte, err error) {
	ch, err := u.s.ssh.NewSession()
	if err != nil {
		var no *ssh.OpenChannelError
		if errors.As(err, &no) {
			err = fmt.Errorf("%w: %w", errNoExec, err)
		}
		return sum, err
	}
	defer ch.Close()
	// A disk that reads less than 4 MiB/s is read back no faster.
	limit := u.h.o.Watchdog + time.Duration(size>>22)*time.Second
	late := time.AfterFunc(min(limit, u.h.o.Patience/2), func() { ch.Close() })
	defer late.Stop()
	defer context.AfterFunc(ctx, func() { ch.Close() })()

	// Start-up files may print what they like; only a whole and lonely sum is believed.
	out := &head{limit: 1024}
	ch.Stdout = out
	err = ch.Run("sha256sum < " + quote(file))
	if err != nil && (ctx.Err() != nil || !u.s.alive()) {
		return sum, err
	}
	field, _, _ := strings.Cut(out.buf.String(), " ")
	if n, herr := hex.Decode(sum[:], []byte(field[:min(len(field), 64)])); err != nil || herr != nil || n != len(sum) || len(field) != 64 {
		return [32]byte{}, fmt.Errorf("%w (%v, %q)", errNoExec, err, out.buf.String())
	}
	return sum, nil
}

// quote makes s one word for a POSIX shell, whatever it contains. The keys that the shipper makes need no quotes, which
// lets a forced command be a simple script.
func quote(s string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/=._-", r))
	}
	if !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// head keeps the first bytes written to it.
type head struct {
	buf   bytes.Buffer
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.buf.Write(p[:min(len(p), h.limit-h.buf.Len())])
	return len(p), nil
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
