package sftpd

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// handshakeLimit is how long a peer may take to authenticate.
const handshakeLimit = 10 * time.Second

// serve runs one connection: SFTP sessions, and nothing else.
func (s *Server) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(handshakeLimit))
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		s.o.Logger.Debug("handshake failed", "err", err)
		return
	}
	_ = c.SetDeadline(time.Time{})
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { ssh.DiscardRequests(requests) }) // a keepalive wants an answer, any answer
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "SFTP only")
			continue
		}
		ch, requests, err := offered.Accept()
		if err != nil {
			break
		}
		running.Go(func() { s.session(ch, requests) })
	}
	_ = conn.Close()
}

// session waits for the request for SFTP on a channel and serves it.
func (s *Server) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	var serving sync.WaitGroup
	defer serving.Wait()
	defer ch.Close()
	begun := false
	for r := range requests {
		// The payload is a length and the name (RFC 4254, section 6.5).
		ok := !begun && r.Type == "subsystem" && len(r.Payload) == 8 && string(r.Payload[4:]) == "sftp"
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if !ok {
			continue
		}
		begun = true
		serving.Go(func() {
			var rwc io.ReadWriteCloser = ch
			if s.o.Channel != nil {
				rwc = s.o.Channel(ch)
			}
			h := handlers{s.root}
			set := sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h}
			if s.o.Handlers != nil {
				set = s.o.Handlers(set)
			}
			server := sftp.NewRequestServer(rwc, set)
			if err := server.Serve(); err != nil && err != io.EOF {
				s.o.Logger.Debug("session ended", "err", err)
			}
			_ = server.Close()
			_ = ch.Close()
		})
	}
}
