package sftpd

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// User is the name that clients log in with.
const User = "penstock"

// Options for tests; the zero value is a plain server.
type Options struct {
	// Handlers changes how requests are handled.
	Handlers func(sftp.Handlers) sftp.Handlers
	// Channel is between the SFTP server and the SSH channel.
	Channel func(io.ReadWriteCloser) io.ReadWriteCloser
	Logger  *slog.Logger // nil discards
}

// Server is an SFTP server. Stop takes it down, Restart brings it back on the same port.
type Server struct {
	// Addr it listens on; stays the same.
	Addr string
	// KeyFile is the private key that may log in, KnownHosts the file with the server's key.
	KeyFile, KnownHosts string

	o      Options
	root   *os.Root
	config *ssh.ServerConfig

	mu       sync.Mutex
	listener net.Listener // nil while stopped
	conns    map[net.Conn]struct{}
	running  sync.WaitGroup
}

// Start serves the directory dir, as the root of what clients see, on a free port of 127.0.0.1. Keys are made again and
// written into the directory keys. Both are created if need be.
func Start(dir, keys string, o *Options) (*Server, error) {
	s := &Server{KeyFile: filepath.Join(keys, "client_key"), KnownHosts: filepath.Join(keys, "known_hosts"), conns: make(map[net.Conn]struct{})}
	if o != nil {
		s.o = *o
	}
	if s.o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(keys, 0o700)); err != nil {
		return nil, fmt.Errorf("sftpd: %w", err)
	}
	host, _, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("sftpd: %w", err)
	}
	client, private, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("sftpd: %w", err)
	}
	may := string(client.PublicKey().Marshal())
	s.config = &ssh.ServerConfig{
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if c.User() != User || string(key.Marshal()) != may {
				return nil, errors.New("sftpd: not the client's key")
			}
			return nil, nil
		},
	}
	s.config.AddHostKey(host)
	if s.root, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("sftpd: %w", err)
	}
	err = s.listen("127.0.0.1:0")
	if err == nil {
		err = errors.Join(
			os.WriteFile(s.KeyFile, private, 0o600),
			os.WriteFile(s.KnownHosts, []byte(knownhosts.Line([]string{s.Addr}, host.PublicKey())+"\n"), 0o600))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sftpd: %w", err), s.Close())
	}
	return s, nil
}

// newKey makes an Ed25519 key, and its private half in OpenSSH's file format.
func newKey() (ssh.Signer, []byte, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	return signer, pem.EncodeToMemory(block), err
}

// URL under which a client reaches the directory dir ("/" is the root; it is not created).
func (s *Server) URL(dir string) string {
	u := url.URL{
		Scheme: "sftp", User: url.User(User), Host: s.Addr, Path: dir,
		RawQuery: url.Values{"key": {s.KeyFile}, "known_hosts": {s.KnownHosts}}.Encode(),
	}
	return u.String()
}

// Stop closes the port and cuts all connections. Idempotent.
func (s *Server) Stop() {
	s.mu.Lock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Restart listens again after Stop.
func (s *Server) Restart() error {
	if err := s.listen(s.Addr); err != nil {
		return fmt.Errorf("sftpd: %w", err)
	}
	return nil
}

// Close stops the server for good. Idempotent.
func (s *Server) Close() error {
	s.Stop()
	return s.root.Close()
}

func (s *Server) listen(addr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return errors.New("listens already")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.listener, s.Addr = l, l.Addr().String()
	s.running.Go(func() { s.accept(l) })
	return nil
}

// accept serves connections until the listener is closed.
func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.listener != l {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.running.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
		s.mu.Unlock()
	}
}
