package sftpship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

const (
	// Data bytes per packet: the size that every server must accept, and the one that OpenSSH accepts (256 KiB less
	// headers; measured 1.2 times as fast at 20 ms).
	packetSize        = 32 << 10
	packetSizeOpenSSH = 255 << 10
	// requests bounds the requests in flight per file.
	requests = 64
	// idleLimit is how long an unused connection is kept.
	idleLimit = time.Minute
	// cancelGrace is the time that a cancelled operation has to remove its temporary file before its connection is cut.
	cancelGrace = time.Second
)

// session is one SSH connection with one SFTP channel.
type session struct {
	conn    *conn
	bastion *ssh.Client // nil without one
	ssh     *ssh.Client
	sftp    *sftpc.Client
	packet  int  // data bytes of one request
	ordered bool // the server carries out all requests in the order in which they are sent
	trip    roundTrip
	born    time.Time
	// maxEntries bounds the list of one directory.
	maxEntries int
	load       load // guarded by the pool
	openssl    opensslState
	ended      chan struct{} // closed when the connection is gone
	cut        atomic.Bool   // by this side
}

// dial connects and authenticates, through the bastion if there is one. The watchdog limits the handshakes to
// StallTimeout.
func (h *Destination) dial(ctx context.Context) (*session, error) {
	cred, err := h.place.credentials(ctx, &h.o)
	if err != nil {
		return nil, ship.Permanent(err)
	}
	defer cred.close()
	h.complain(h.place.exposed())

	to := h.place.hop
	if h.place.jump != nil {
		to = *h.place.jump
	}
	d := net.Dialer{Timeout: h.o.StallTimeout}
	nc, err := d.DialContext(ctx, "tcp", to.addr)
	if err != nil {
		return nil, err
	}
	c := newConn(nc, h.o.StallTimeout, h.o.AnswerTimeout)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()

	s := &session{conn: c, packet: packetSize, maxEntries: h.maxEntries, ended: make(chan struct{})}
	// With a bastion, the second handshake runs through a channel of the first connection, and the watch on that covers
	// both. The bastion sees only encrypted bytes.
	if s.ssh, err = h.handshake(c, to, cred); err == nil && h.place.jump != nil {
		s.bastion, to = s.ssh, h.place.hop
		if nc, err = s.bastion.Dial("tcp", to.addr); err == nil {
			s.ssh, err = h.handshake(nc, to, cred)
		}
	}
	if err == nil {
		err = s.startSFTP()
	}
	if err != nil {
		c.Close()
		if why := c.why(); why != nil {
			err = fmt.Errorf("handshake: %w (%w)", why, err)
		} else {
			err = h.explainDial(to, cred, err)
		}
		if h.place.jump != nil {
			err = fmt.Errorf("at %s: %w", to.addr, err)
		}
		return nil, err
	}
	c.established()
	return s, nil
}

// handshake authenticates both sides of a connection. The caller closes it on error.
func (h *Destination) handshake(nc net.Conn, to hop, cred *credentials) (*ssh.Client, error) {
	hostKey, algorithms, skipped, err := h.place.hostKeys(to)
	if err != nil {
		return nil, ship.Permanent(err)
	}
	h.complain(skipped)
	sc, channels, reqs, err := ssh.NewClientConn(nc, to.addr, &ssh.ClientConfig{
		User:              to.user,
		Auth:              cred.methods,
		AuthCallback:      cred.watch,
		HostKeyCallback:   hostKey,
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-Penstock",
	})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(sc, channels, reqs), nil
}

// startSFTP opens the channel that all operations use.
func (s *session) startSFTP() error {
	ch, err := s.ssh.NewSession()
	if err != nil {
		return err
	}
	w, err := ch.StdinPipe()
	if err != nil {
		return err
	}
	r, err := ch.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := ch.StderrPipe()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := ch.RequestSubsystem("sftp"); err != nil {
		// x/crypto/ssh has no typed error for a refusal: only its text distinguishes it from a lost connection.
		if strings.Contains(err.Error(), "request failed") {
			err = fmt.Errorf("%w: %w", errNoSFTP, err)
		}
		return err
	}
	// The answer to this request is the first that shows the whole line. The time that connecting took would not: a bastion, or
	// a proxy close to this host, accepts a connection at once.
	s.trip.add(time.Since(begin))
	go io.Copy(io.Discard, stderr) // unread, it would use up the channel's window; ends with the channel
	if s.sftp, err = sftpc.New(r, w); err != nil {
		return fmt.Errorf("the SFTP handshake failed: %w", err)
	}
	// OpenSSH's sshd, which sends the banner, may run another SFTP server; the extension comes from the SFTP server
	// itself.
	if s.sftp.Has("limits@openssh.com", "1") && strings.HasPrefix(string(s.ssh.ServerVersion()), "SSH-2.0-OpenSSH_") {
		s.packet, s.ordered = packetSizeOpenSSH, true
	}
	return nil
}

// errNoSFTP: authenticated, but the server offers no SFTP.
var errNoSFTP = errors.New("the server offers this account no SFTP")

// turn is an operation's turn on a session: what it sends, and the limits that hold meanwhile.
type turn struct {
	*sftpc.Exchange
	s    *session
	use  *use
	stop func() bool
}

// beginTurn begins a turn: until endTurn, the peer must make progress, and the end of ctx ends the operation.
func (s *session) beginTurn(ctx context.Context) *turn {
	use := s.conn.beginUse()
	stop := context.AfterFunc(ctx, func() { use.hurry(cancelGrace) })
	return &turn{Exchange: s.sftp.Exchange(use.answered), s: s, use: use, stop: stop}
}

// endTurn reports whether the session is fit for another operation.
func (t *turn) endTurn() bool {
	t.use.endUse()
	return t.stop() && t.s.alive()
}

// reason prefixes err with the reason for which this side cut the connection, if it did.
func (s *session) reason(err error) error {
	if why := s.conn.why(); why != nil && err != nil {
		return fmt.Errorf("%w (%w)", why, err)
	}
	return err
}

// alive reports whether the connection is still up, as far as this side can know.
func (s *session) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return !s.cut.Load()
	}
}

// close cuts the connection. It sends no disconnect message, because writing could block.
func (s *session) close() {
	s.cut.Store(true)
	s.conn.Close()
}

// run watches a session's connection until it ends: it sends a keepalive to a silent peer while an operation waits, and
// closes the connection when it has been unused for idleLimit.
func (h *Destination) run(s *session) {
	defer h.pool.forget(s)
	go func() {
		s.ssh.Wait()
		if s.bastion != nil {
			s.close() // its end does not end the connection to the bastion
			s.bastion.Wait()
		}
		close(s.ended)
	}()
	// A third: a peer that is alive has at least that long to answer before the watchdog ends the connection.
	tick := time.NewTicker(h.o.StallTimeout / 3)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			s.sftp.Close() // waits for its goroutine
			return
		case <-tick.C:
			switch {
			case s.conn.quiet(h.o.StallTimeout / 3):
				// Any answer will do, even a refusal. Without one, the watchdog ends the connection, and with it this
				// call.
				s.ssh.SendRequest("keepalive@openssh.com", true, nil)
			case h.pool.expired(s, idleLimit):
				s.close()
			}
		}
	}
}
