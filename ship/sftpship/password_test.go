package sftpship

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// passwordServer takes a password in one of the two ways that servers ask for it.
func passwordServer(t *testing.T, config *ssh.ServerConfig) (raw string) {
	t.Helper()
	host := newKey(t, t.TempDir()+"/host")
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	files := sftp.InMemHandler()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_, channels, requests, err := ssh.NewServerConn(c, config)
				if err != nil {
					return
				}
				running.Go(func() { ssh.DiscardRequests(requests) })
				for offered := range channels {
					ch, requests, err := offered.Accept()
					if err != nil {
						return
					}
					running.Go(func() {
						for r := range requests {
							_ = r.Reply(r.Type == "subsystem", nil)
						}
					})
					running.Go(func() { _ = sftp.NewRequestServer(ch, files).Serve() })
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return with(t, "sftp://u@"+l.Addr().String()+"/", "known_hosts", knownhosts.Line([]string{l.Addr().String()}, host.PublicKey()))
}

// TestPassword: by either method; a wrong one parks the destination and is not shown.
func TestPassword(t *testing.T) {
	t.Setenv(agentSocket, "")
	no := errors.New("no")
	for name, config := range map[string]*ssh.ServerConfig{
		"password": {PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			if string(p) != "right" {
				return nil, no
			}
			return nil, nil
		}},
		"keyboard-interactive": {KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(answers) != 1 || answers[0] != "right" {
				return nil, no
			}
			return nil, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			url := passwordServer(t, config)
			if _, err := open(t, url, &Options{Password: "right"}).Stat(bounded(t), "a"); err == nil || !settled(err) {
				t.Errorf("Stat of what is not there: %v", err)
			}
			_, err := open(t, url, &Options{Password: "mistaken"}).Stat(bounded(t), "a")
			wantPermanent(t, err, "the password", `"u"`)
			if err != nil && strings.Contains(err.Error(), "mistaken") {
				t.Errorf("error %v shows the password", err)
			}
		})
	}
}
