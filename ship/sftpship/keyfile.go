package sftpship

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/internal/shell"
)

// signer reads the private key, with its certificate if there is one.
func (p place) signer(passphrase string) (ssh.Signer, error) {
	text, err := os.ReadFile(p.key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark, which Windows' editors write
	// Without the passphrase first: it may be given for a key that has none.
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && passphrase != "" {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(passphrase))
	}
	if err != nil {
		return nil, fmt.Errorf("key: %s %w", p.key, keyError(p.key, text, err))
	}
	// As with ssh(1), a certificate beside the key is used without being asked for.
	file := p.cert
	if file == "" {
		file = p.key + "-cert.pub"
	}
	line, err := os.ReadFile(file)
	switch {
	case p.cert == "" && errors.Is(err, fs.ErrNotExist):
		return signer, nil
	case err != nil:
		return nil, fmt.Errorf("cert: %w", err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(line)
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

// keyError says what kind of file is given instead of a usable private key, and how to get one from it. Operators are
// given keys in all these formats.
func keyError(file string, text []byte, err error) error {
	var locked *ssh.PassphraseMissingError
	block, _ := pem.Decode(text)
	kind := ""
	if block != nil {
		kind = block.Type
	}
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("has a passphrase: give passphrase_file=FILE or passphrase_env=NAME, or load the key into an agent and leave out key= (%w)", err)
	case errors.Is(err, x509.IncorrectPasswordError):
		return fmt.Errorf("has another passphrase than the one given (%w)", err)
	case kind == "ENCRYPTED PRIVATE KEY":
		return fmt.Errorf("has a passphrase, in a format (PKCS #8) that cannot be unlocked here: `ssh-keygen -p -f %s` asks for the passphrase and rewrites the file in OpenSSH's format; then give passphrase_file=FILE (%w)", shell.Quote(file), err)
	case bytes.HasPrefix(text, []byte("PuTTY-User-Key-File-")):
		return fmt.Errorf("is a PuTTY key: `puttygen %s -O private-openssh -o NEWFILE` converts it (%w)", shell.Quote(file), err)
	case kind == "SSH2 ENCRYPTED PRIVATE KEY" || bytes.HasPrefix(text, []byte("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY")):
		return fmt.Errorf("is a key of ssh.com's format: `ssh-keygen -i -f %s > NEWFILE` converts it (%w)", shell.Quote(file), err)
	case isPublicKey(text, kind):
		return fmt.Errorf("is the public key: give the private one (often the same name without .pub) (%w)", err)
	case kind == "CERTIFICATE":
		return fmt.Errorf("is an X.509 certificate: give a private key (%w)", err)
	case bytes.Contains(text, []byte("\x00")):
		return fmt.Errorf("is no text: convert it, for example from UTF-16 or from DER by `openssl pkey -inform DER -in %s -out NEWFILE` (%w)", shell.Quote(file), err)
	case len(bytes.TrimSpace(text)) == 0:
		return fmt.Errorf("is empty (%w)", err)
	case kind == "OPENSSH PRIVATE KEY" && strings.Contains(err.Error(), "unhandled key type"):
		return fmt.Errorf("has a type that cannot be used from a file here, such as that of a security token: load it into an agent and leave out key= (%w)", err)
	}
	return fmt.Errorf("is no private key that can be read here: make one by `ssh-keygen -t ed25519 -f NEWFILE` (%w)", err)
}

// isPublicKey recognises the public halves, in OpenSSH's and other formats.
func isPublicKey(text []byte, kind string) bool {
	if strings.HasSuffix(kind, "PUBLIC KEY") || bytes.HasPrefix(text, []byte("---- BEGIN SSH2 PUBLIC KEY")) {
		return true
	}
	_, _, _, _, err := ssh.ParseAuthorizedKey(text)
	return err == nil
}

// keyLine is the authorized_keys line of a public key.
func keyLine(k ssh.PublicKey) string {
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(k)))
}
