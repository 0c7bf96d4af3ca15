package sftpship

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/penstock-go/penstock/ship"
)

// hostKeys reads known_hosts, and returns the check of a server's key and the algorithms to ask for. The file is
// read at each connection, so that correcting it cures a parked destination without a restart.
//
// Restricting the algorithms matters: a server has keys of several types and presents the first that the client
// prefers. Without it, a host known by its ECDSA key would present its Ed25519 key and look like a changed host.
//
// skipped describes the lines that cannot be read.
func (p place) hostKeys(to hop) (verify ssh.HostKeyCallback, algorithms, skipped []string, err error) {
	text, err := os.ReadFile(p.knownHosts)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("known_hosts: %w", err)
	}
	lines := bytes.Split(text, []byte("\n"))
	check, err := knownhosts.New(p.knownHosts)
	if err != nil {
		// The file has a key type that is not known here, a line for protocol 1, or one that a crash cut off.
		if check, skipped, err = p.readableLines(lines); err != nil {
			return nil, nil, nil, fmt.Errorf("known_hosts: %w", err)
		}
	}
	verify = func(host string, remote net.Addr, key ssh.PublicKey) error {
		return p.explainKey(to, key, check(host, remote, key))
	}
	return verify, to.algorithms(check, lines), skipped, nil
}

// algorithms lists the host key algorithms under which the known keys of the host can be presented.
func (h hop) algorithms(check ssh.HostKeyCallback, lines [][]byte) []string {
	// A key that nobody has: the refusal lists the keys known for the host.
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	// The package offers no look-up of its own (golang/go#29286).
	var known *knownhosts.KeyError
	errors.As(check(h.addr, &net.TCPAddr{IP: net.IPv4zero}, nobody), &known)

	supported := ssh.SupportedAlgorithms().HostKeys // without SHA-1
	isCert := func(algo string) bool { return strings.Contains(algo, "-cert-") }
	if known == nil || len(known.Want) == 0 {
		// Unknown host. Its plain key makes the more useful message.
		return slices.DeleteFunc(supported, isCert)
	}
	var algos []string
	for _, k := range known.Want {
		var of []string
		switch {
		case k.Line >= 1 && k.Line <= len(lines) && bytes.HasPrefix(bytes.TrimLeft(lines[k.Line-1], " \t"), []byte("@cert-authority")):
			of = slices.DeleteFunc(slices.Clone(supported), func(a string) bool { return !isCert(a) })
		case k.Key.Type() == ssh.KeyAlgoRSA:
			// The key's type names a signature with SHA-1, which is not accepted; RFC 8332 has the others.
			of = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		default:
			of = []string{k.Key.Type()}
		}
		for _, a := range of {
			if !slices.Contains(algos, a) {
				algos = append(algos, a)
			}
		}
	}
	return algos
}

// explainKey says what to compare and what to do about a host key that was refused.
func (p place) explainKey(of hop, key ssh.PublicKey, err error) error {
	if err == nil {
		return nil
	}
	print := key.Type() + " " + ssh.FingerprintSHA256(key)
	line := knownhosts.Line([]string{of.addr}, key)
	var unknown *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		err = fmt.Errorf("host key %s is revoked in %s:%d: %w: %w", print, p.knownHosts, revoked.Revoked.Line, ship.ErrIdentity, err)
	case errors.As(err, &unknown) && len(unknown.Want) == 0:
		err = fmt.Errorf("unknown host key %s: compare it with `ssh-keygen -lf` on the server's own key files, then add to %s the line %q: %w",
			print, p.knownHosts, line, err)
	case errors.As(err, &unknown):
		want := unknown.Want[0]
		err = fmt.Errorf("host key changed: the server presents %s, but %s:%d has %s %s; nothing was sent. Only if the server was given new keys, replace that line by %q: %w: %w",
			print, p.knownHosts, want.Line, want.Key.Type(), ssh.FingerprintSHA256(want.Key), line, ship.ErrIdentity, err)
	default: // a certificate that is expired, for another host, by an unknown authority
		err = fmt.Errorf("host certificate %s: %w", print, err)
	}
	return ship.Permanent(err)
}
