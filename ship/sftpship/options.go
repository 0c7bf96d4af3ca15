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
	// VerifyAuto (default): objects from 8 MiB by `sha256sum` on the server (or `openssl`, which is faster, where it says the
	// same), if the account may execute it and that takes no longer than three times the upload; reading back else. What was
	// found of use or not is found again after an hour.
	VerifyAuto Verify = "auto"
	// VerifyExec: `sha256sum` or `openssl` on the server; an account that may not execute it is a Permanent error.
	VerifyExec Verify = "exec"
	// VerifyReadBack: every byte is read back and hashed here.
	VerifyReadBack Verify = "readback"
)

// Options configure Open. The zero value of every field means its documented default; parameters of the URL win.
type Options struct {
	// Workers is the number of connections at most, and so of concurrent operations; default 4, at most 64. (sshd's
	// MaxStartups begins to refuse at 10 unauthenticated connections.)
	Workers int
	// Watchdog is how long a peer may neither send nor take a byte during an operation; default 30 s.
	Watchdog time.Duration
	// Patience is how long a single request may wait for its answer while the peer is alive (a large fsync on a slow
	// disk); default 10 × Watchdog.
	Patience time.Duration
	Verify   Verify

	// Password is offered after key or agent, to the bastion as well. It cannot be given in a URL, since those end up in
	// logs and in the list of processes; password_file=FILE and password_env=NAME there say where to read it.
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
	if c.Watchdog == 0 {
		c.Watchdog = 30 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 10 * c.Watchdog
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
	if o.Watchdog < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("watchdog=%v: give a duration such as 30s", o.Watchdog))
	}
	if o.Patience < o.Watchdog {
		errs = append(errs, fmt.Errorf("patience=%v: must not be less than watchdog=%v", o.Patience, o.Watchdog))
	}
	switch o.Verify {
	case VerifyAuto, VerifyExec, VerifyReadBack:
	default:
		errs = append(errs, fmt.Errorf("verify=%q: give auto, exec or readback", o.Verify))
	}
	return errors.Join(errs...)
}
