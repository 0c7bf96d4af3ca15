package sftpship

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

// explainDial makes an error permanent if only an operator can cure it, and adds the cure.
func (h *Destination) explainDial(to hop, cred *credentials, err error) error {
	var mismatch *ssh.AlgorithmNegotiationError
	var closed *ssh.OpenChannelError
	switch {
	case ship.IsPermanent(err):
		return err
	case errors.As(err, &mismatch):
		return ship.Permanent(fmt.Errorf("%w: if the server lost the host key type that %s lists, compare `%s` with the server's keys and add them",
			err, h.place.knownHosts, to.keyscan()))
	case refused(err):
		return ship.Permanent(cred.explain(to, err))
	case errors.As(err, &closed) && closed.Reason == ssh.Prohibited && h.place.jump != nil:
		return ship.Permanent(fmt.Errorf("%w: allow user %q at the bastion %s to go on to %s (AllowTcpForwarding, PermitOpen in its sshd_config, permitopen in authorized_keys), and sessions there",
			err, h.place.jump.user, h.place.jump.addr, h.place.addr))
	case errors.Is(err, errNoSFTP):
		return ship.Permanent(fmt.Errorf("%w: enable `Subsystem sftp internal-sftp` in its sshd_config", err))
	}
	return err
}

// explain adds the cure to what the server answered about a path.
func (h *Destination) explain(p string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return ship.Permanent(fmt.Errorf("%s: %w: user %q needs to read and write %s and everything below it (a chroot itself belongs to root: give it a writable directory inside)",
			p, err, h.place.user, h.place.dir))
	}
	return fmt.Errorf("%s: %w", p, err)
}

// noBase is the error of reading in a destination directory that is not there: its volume may not be mounted at the
// moment, so its contents are unknown. The first write creates it.
func (h *Destination) noBase() error {
	return ship.Permanent(fmt.Errorf("no directory %s on the server: the first delivery creates it; if it was there before, see that its volume is mounted (%w)", h.place.dir, errNoDir))
}

// errNoDir is not fs.ErrNotExist: that would tell the caller that the object is not there, which is not known.
var errNoDir = errors.New("destination directory is missing")

// settled reports whether err is an answer of the server or a decision of this package, after which the connection is
// still good. After any other error, it may be broken.
func settled(err error) bool {
	var status *sftpc.StatusError
	return err == nil || errors.As(err, &status) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errNoDir) ||
		errors.Is(err, ship.ErrConflict) || errors.Is(err, errTaken) || errors.Is(err, errEndless) || errors.Is(err, ship.ErrVerify) || errors.Is(err, errNoSpace)
}

// checkKey refuses keys that would lead out of the destination or into its temporary files.
func checkKey(key string) error {
	if err := ship.CheckKey(key); err != nil {
		return err
	}
	if key == tmpDir || strings.HasPrefix(key, tmpDir+"/") {
		return fmt.Errorf("key %q: %s is for temporary files", key, tmpDir)
	}
	return nil
}
