package sftpship

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// Verify says how an upload is compared with what was sent.
type Verify string

const (
	// VerifyAuto (default): objects of 8 MiB or more are hashed by `sha256sum` on the server (or `openssl`, which is faster,
	// if it gives the same hash), if the account may execute it and that takes no longer than three times the upload. All
	// others are read back. A command that was of no use is tried again after an hour.
	VerifyAuto Verify = "auto"
	// VerifyExec: `sha256sum` or `openssl` on the server; an account that may not execute it is a Permanent error.
	VerifyExec Verify = "exec"
	// VerifyReadBack: every byte is read back and hashed here.
	VerifyReadBack Verify = "readback"
)

// Options configure Open. The zero value of every field means its documented default; parameters of the URL override fields.
type Options struct {
	// Workers is the maximum number of connections (see the package for what each carries); default 4, at most 64. (sshd's
	// MaxStartups begins to refuse at 10 unauthenticated connections.)
	Workers int
	// StallTimeout is how long a peer may neither send nor accept a byte during an operation; default 30 s.
	StallTimeout time.Duration
	// AnswerTimeout is how long a single request may wait for its answer while the peer is alive (a large fsync on a slow
	// disk); default 10 × StallTimeout.
	AnswerTimeout time.Duration
	Verify        Verify

	// Password is offered after key or agent, to the bastion as well. A URL cannot contain it, because URLs end up in logs
	// and in the list of processes; there, password_file=FILE or password_env=NAME says where to read it.
	Password string
	// Passphrase of the key file; in a URL passphrase_file=FILE or passphrase_env=NAME.
	Passphrase string

	Logger *slog.Logger // nil discards
}

// withDefaults returns a copy in which every zero value is replaced by its default.
func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Workers == 0 {
		c.Workers = 4
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = 30 * time.Second
	}
	if c.AnswerTimeout == 0 {
		c.AnswerTimeout = 10 * c.StallTimeout
	}
	if c.Verify == "" {
		c.Verify = VerifyAuto
	}
	c.Logger = steadylog.Wrap(c.Logger)
	return c
}

// validate returns all mistakes, joined.
func (o *Options) validate() error {
	var errs []error
	if o.Workers < 1 || o.Workers > 64 {
		errs = append(errs, fmt.Errorf("workers=%d: give 1 to 64", o.Workers))
	}
	if o.StallTimeout < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("stall_timeout=%v: give a duration such as 30s", o.StallTimeout))
	}
	if o.AnswerTimeout < o.StallTimeout {
		errs = append(errs, fmt.Errorf("answer_timeout=%v: must not be less than stall_timeout=%v", o.AnswerTimeout, o.StallTimeout))
	}
	switch o.Verify {
	case VerifyAuto, VerifyExec, VerifyReadBack:
	default:
		errs = append(errs, fmt.Errorf("verify=%q: give auto, exec or readback", o.Verify))
	}
	return errors.Join(errs...)
}
