package sftpship

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/internal/shell"
)

// errNoExec: the account cannot execute sha256sum.
var errNoExec = errors.New("sha256sum gave no answer on the server")

// The commands that hash a file on the server. The shipper's keys need no quotes, so that a forced command can be a simple script.
// Debian's sha256sum does not use the processor's SHA-256 instructions. openssl does, and takes a quarter of the CPU time.
const (
	sha256sum = "sha256sum < "
	openssl   = "openssl dgst -sha256 -r < "
)

// opensslState is what a connection knows about the server's openssl. It only advances: before openssl has given the right answer, a
// connection tries it at most once, and after no answer, or a different one than sha256sum's, never again.
type opensslState struct{ state atomic.Int32 }

const (
	opensslUnknown int32 = iota // sha256sum comes first: an account that may execute nothing else is common, and documented
	opensslLikely               // sha256sum has answered here, or openssl on another connection
	opensslTried                // somebody waits for its first answer
	opensslWorks
	opensslFails
)

// next reports whether the next file is to be hashed by openssl. The caller then reports the outcome to done.
func (o *opensslState) next() bool {
	return o.state.Load() == opensslWorks || o.state.CompareAndSwap(opensslLikely, opensslTried)
}

// done notes whether openssl gave the right answer.
func (o *opensslState) done(right bool) {
	if right {
		o.state.CompareAndSwap(opensslTried, opensslWorks)
	} else {
		o.state.Store(opensslFails)
	}
}

// mayTry makes openssl the next command, unless it was tried before.
func (o *opensslState) mayTry() { o.state.CompareAndSwap(opensslUnknown, opensslLikely) }

// remoteSum has the server hash a file, and returns how long the command took that gave the answer. If openssl gives the hash of what
// was sent, that is accepted. Any other answer is compared with sha256sum's, which decides.
func (u *upload) remoteSum(ctx context.Context, file string, size int64) (sum [32]byte, took time.Duration, err error) {
	if u.h.openssl.Load() {
		u.s.openssl.mayTry()
	}
	tried, said := u.s.openssl.next(), [32]byte{}
	if tried {
		said, took, err = u.execute(ctx, openssl+shell.Quote(file), size)
		if err != nil && !errors.Is(err, errNoExec) {
			return sum, 0, err // the connection, or the caller, has ended
		}
		tried = err != nil || said != u.o.SHA256
		if !tried {
			u.noteOpenSSL(true)
			return said, took, nil
		}
	}
	sum, took, err = u.execute(ctx, sha256sum+shell.Quote(file), size)
	switch {
	case tried:
		u.noteOpenSSL(err == nil && sum == said)
	case err == nil && sum == u.o.SHA256:
		u.s.openssl.mayTry()
	}
	return sum, took, err
}

func (u *upload) noteOpenSSL(right bool) {
	u.s.openssl.done(right)
	u.h.openssl.Store(right)
}

// execute runs a command that prints the SHA-256 of a file. Its time is limited, because the account's shell may be a menu that waits
// for a key.
func (u *upload) execute(ctx context.Context, command string, size int64) (sum [32]byte, took time.Duration, err error) {
	begin := time.Now()
	ch, err := u.s.ssh.NewSession()
	if err != nil {
		var no *ssh.OpenChannelError
		if errors.As(err, &no) {
			err = fmt.Errorf("%w: %w", errNoExec, err)
		}
		return sum, 0, err
	}
	defer ch.Close()
	// A limit for 4 MiB/s: from a slower disk, reading back would be no faster.
	limit := u.h.o.StallTimeout + time.Duration(size>>22)*time.Second
	late := time.AfterFunc(min(limit, u.h.o.AnswerTimeout/2), func() { ch.Close() })
	defer late.Stop()
	defer context.AfterFunc(ctx, func() { ch.Close() })()

	// Start-up files may print anything; only output that begins with a complete hash is accepted.
	out := &head{limit: 1024}
	ch.Stdout = out
	err = ch.Run(command)
	if err != nil && (ctx.Err() != nil || !u.s.alive()) {
		return sum, 0, err
	}
	field, _, _ := strings.Cut(out.buf.String(), " ")
	if n, herr := hex.Decode(sum[:], []byte(field[:min(len(field), 64)])); err != nil || herr != nil || n != len(sum) || len(field) != 64 {
		return [32]byte{}, 0, fmt.Errorf("%w (%v, %q)", errNoExec, err, out.buf.String())
	}
	return sum, time.Since(begin), nil
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
