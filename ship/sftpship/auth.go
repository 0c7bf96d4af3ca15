package sftpship

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentSocket is the environment variable with the path of ssh-agent(1)'s socket.
const agentSocket = "SSH_AUTH_SOCK"

// credentials are what one connection authenticates with.
type credentials struct {
	methods  []ssh.AuthMethod
	tried    []string // describes them, for the message when all are refused
	password bool     // there is one
	close    func()

	// The server's own words, for the same message.
	accepted []string // methods that it accepted, but that were not enough
	offered  []string // methods that it wanted in the end
	asked    []string // questions that only a person could answer
}

// credentials reads the secrets (or reaches the agent) again for each connection, so that replacing one cures a parked
// destination without a restart. If there is a key file, the agent is not used: sshd counts each offered key as a failure.
func (p place) credentials(ctx context.Context, o *Options) (*credentials, error) {
	password, err := p.password.read("password", o.Password)
	if err != nil {
		return nil, err
	}
	c := &credentials{close: func() {}, password: password != ""}
	switch {
	case p.key != "":
		passphrase, err := p.passphrase.read("passphrase", o.Passphrase)
		if err != nil {
			return nil, err
		}
		signer, err := p.signer(passphrase)
		if err != nil {
			return nil, err
		}
		c.methods = append(c.methods, ssh.PublicKeys(signer))
		c.tried = append(c.tried, fmt.Sprintf("the key %s, %q", p.key, keyLine(signer.PublicKey())))
	case os.Getenv(agentSocket) != "":
		if err := c.agent(ctx, o); err != nil {
			return nil, err
		}
	case password == "":
		return nil, errNoCredentials
	}
	if c.password {
		c.tried = append(c.tried, "the password")
		c.methods = append(c.methods, ssh.Password(password))
	}
	// Also without a password: some servers accept a key, and then send a challenge without questions.
	c.methods = append(c.methods, ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
		return c.answer(password, questions, echos)
	}))
	return c, nil
}

// agent offers the keys of the agent. It signs during the handshake, so its socket has to stay open until close.
func (c *credentials) agent(ctx context.Context, o *Options) error {
	var d net.Dialer
	sock, err := d.DialContext(ctx, "unix", os.Getenv(agentSocket))
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	_ = sock.SetDeadline(time.Now().Add(o.StallTimeout)) // an agent may hang, too
	stop := context.AfterFunc(ctx, func() { sock.Close() })
	c.close = func() { stop(); sock.Close() }
	keys := agent.NewClient(sock)
	c.methods = append(c.methods, ssh.PublicKeysCallback(keys.Signers))
	c.tried = append(c.tried, "the keys of the agent")
	return nil
}

// answer answers a challenge. A single hidden question is PAM's, for the password; anything else asks for a code that only
// a person or a device knows.
func (c *credentials) answer(password string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil
	case len(questions) == 1 && !echos[0] && password != "" && !slices.Contains(c.asked, questions[0]):
		c.asked = append(c.asked, questions[0]) // the same question once more means that the answer was wrong
		return []string{password}, nil
	}
	c.asked = append(c.asked, questions...)
	return nil, errQuestion
}

var errQuestion = errors.New("the server asks more than a password")

// watch notes which methods the server accepts and wants; the choice stays with x/crypto/ssh.
func (c *credentials) watch(s *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	c.accepted, c.offered = s.PartialSuccessMethods, s.AllowedMethods
	return nil, nil
}

// explain says why a server refused, by the methods that it accepted and then wanted. A refused key and an accepted one
// that is not enough need different cures.
func (c *credentials) explain(to hop, err error) error {
	const password = "give password_file=FILE or password_env=NAME (a program: Options.Password)"
	wantsPassword := slices.Contains(c.offered, "password") || slices.Contains(c.offered, "keyboard-interactive")
	tried, offers := strings.Join(c.tried, " and "), strings.Join(c.offered, ", ")
	switch {
	case len(c.accepted) > 0 && c.password:
		return fmt.Errorf("%w: the server accepts %s of user %q and then wants more (%s) than it is given%s: correct the password, or have the server's administrator allow this account in with the key alone (AuthenticationMethods in its sshd_config)",
			err, strings.Join(c.accepted, ", "), to.user, offers, c.questions())
	case len(c.accepted) > 0:
		return fmt.Errorf("%w: the server accepts %s of user %q and wants %s as well%s: %s", err, strings.Join(c.accepted, ", "), to.user, offers, c.questions(), password)
	case len(c.offered) > 0 && !slices.Contains(c.offered, "publickey") && !c.password:
		return fmt.Errorf("%w: the server takes no key of user %q, it offers %s only%s: %s", err, to.user, offers, c.questions(), password)
	case len(c.offered) > 0 && !slices.Contains(c.offered, "publickey"):
		return fmt.Errorf("%w: the server refuses %s for user %q (it offers %s)%s: correct user and password", err, tried, to.user, offers, c.questions())
	case wantsPassword && !c.password:
		return fmt.Errorf("%w: the server refuses %s for user %q: put that key as a line into the user's authorized_keys there (writable by the user alone, as its directory), or correct user and key; it offers %s, too: %s",
			err, tried, to.user, offers, password)
	}
	return fmt.Errorf("%w: the server refuses %s for user %q: put that key as a line into the user's authorized_keys there (writable by the user alone, as its directory), or correct user, key and password",
		err, tried, to.user)
}

// questions quotes what the server asked.
func (c *credentials) questions() string {
	if len(c.asked) == 0 {
		return ""
	}
	var q []string
	for _, s := range c.asked[:min(len(c.asked), 4)] {
		q = append(q, fmt.Sprintf("%.80q", s))
	}
	return " (it asks " + strings.Join(q, ", ") + ")"
}

// refused reports whether a handshake failed because the server took none of the credentials. x/crypto/ssh has no typed
// error for it; the second text is OpenSSH's, sent when too many keys were offered.
func refused(err error) bool {
	return errors.Is(err, errQuestion) || strings.Contains(err.Error(), "unable to authenticate") ||
		strings.Contains(err.Error(), "Too many authentication failures")
}
