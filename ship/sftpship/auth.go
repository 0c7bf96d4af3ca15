package sftpship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentSocket names the variable in which ssh-agent(1) leaves the path of its socket.
const agentSocket = "SSH_AUTH_SOCK"

var errNoCredentials = errors.New("nothing to authenticate with: give key=FILE, or set SSH_AUTH_SOCK to the socket of an agent")

// credentials are what one connection authenticates with.
type credentials struct {
	methods []ssh.AuthMethod
	tried   []string // describes them, for the message when all are refused
	close   func()
}

// credentials reads the key (or reaches the agent) anew for each connection, so that replacing a key cures a parked
// destination without a restart. With a key file the agent is left alone: sshd counts each key offered as a failure.
func (p place) credentials(ctx context.Context, o *Options) (*credentials, error) {
	c := &credentials{close: func() {}}
	switch {
	case p.key != "":
		signer, err := p.signer(o.Passphrase)
		if err != nil {
			return nil, err
		}
		c.methods = append(c.methods, ssh.PublicKeys(signer))
		c.tried = append(c.tried, fmt.Sprintf("the key %s, %q", p.key, keyLine(signer.PublicKey())))
	case os.Getenv(agentSocket) != "":
		// The agent signs during the handshake, so its socket has to stay open until close.
		var d net.Dialer
		sock, err := d.DialContext(ctx, "unix", os.Getenv(agentSocket))
		if err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
		_ = sock.SetDeadline(time.Now().Add(o.Watchdog)) // an agent may hang, too
		stop := context.AfterFunc(ctx, func() { sock.Close() })
		c.close = func() { stop(); sock.Close() }
		keys := agent.NewClient(sock)
		c.methods = append(c.methods, ssh.PublicKeysCallback(keys.Signers))
		c.tried = append(c.tried, "the keys of the agent")
	case o.Password == "":
		return nil, errNoCredentials
	}
	if o.Password != "" {
		c.tried = append(c.tried, "the password")
		c.methods = append(c.methods, ssh.Password(o.Password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, echos []bool) ([]string, error) {
				// The one hidden question that PAM asks is the password; anything else is not for us to answer.
				switch {
				case len(questions) == 0:
					return nil, nil
				case len(questions) == 1 && !echos[0]:
					return []string{o.Password}, nil
				}
				return nil, errors.New("the server asks more than a password")
			}))
	}
	return c, nil
}

// signer reads the private key, with its certificate if there is one.
func (p place) signer(passphrase string) (ssh.Signer, error) {
	pem, err := os.ReadFile(p.key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	var signer ssh.Signer
	if passphrase != "" {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(passphrase))
	} else {
		signer, err = ssh.ParsePrivateKey(pem)
	}
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("key: %s has a passphrase: load it into an agent and leave out key=, or use a key without", p.key)
	case err != nil:
		return nil, fmt.Errorf("key: %s: %w", p.key, err)
	}
	// As with ssh(1), a certificate beside the key is used without being asked for.
	file := p.cert
	if file == "" {
		file = p.key + "-cert.pub"
	}
	text, err := os.ReadFile(file)
	switch {
	case p.cert == "" && errors.Is(err, fs.ErrNotExist):
		return signer, nil
	case err != nil:
		return nil, fmt.Errorf("cert: %w", err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, fmt.Errorf("cert: %s: %w", file, err)
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("cert: %s is no certificate", file)
	}
	// Offered alone: a server that trusts the authority only would count the plain key as a failure.
	signer, err = ssh.NewCertSigner(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("cert: %s does not belong to %s: %w", file, p.key, err)
	}
	return signer, nil
}

// keyLine is the authorized_keys line of a public key.
func keyLine(k ssh.PublicKey) string {
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(k)))
}

// refused reports whether a handshake failed because the server took none of the credentials. x/crypto/ssh has no typed
// error for it; the second text is OpenSSH's, sent when too many keys were offered.
func refused(err error) bool {
	return strings.Contains(err.Error(), "unable to authenticate") ||
		strings.Contains(err.Error(), "Too many authentication failures")
}
