package sftpship

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/penstock-go/penstock/ship"
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

// textLogger logs as text.
func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// testKeyLine is type and text of a key that nobody has.
func testKeyLine(t *testing.T) string {
	return keyLine(newKey(t, filepath.Join(t.TempDir(), "stranger")).PublicKey())
}

// TestPasswordSources: from a file, which is read again at each connection, and from the environment.
func TestPasswordSources(t *testing.T) {
	t.Setenv(agentSocket, "")
	t.Setenv("TEST_PASSWORD", "right")
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		if string(p) != "right" {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	url := passwordServer(t, config)
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stat := func(h *Destination) error {
		_, err := h.Stat(bounded(t), "a")
		if settled(err) && !ship.IsPermanent(err) {
			return nil // it is not there
		}
		return err
	}
	if err := stat(open(t, url+"&password_env=TEST_PASSWORD", nil)); err != nil {
		t.Error(err)
	}
	write("mistaken\n")
	h := open(t, url+"&password_file="+file, nil)
	err := stat(h)
	wantPermanent(t, err, "password")
	if err != nil && strings.Contains(err.Error(), "mistaken") {
		t.Errorf("error %v shows the password", err)
	}
	write("right\r\n")
	if err := stat(h); err != nil {
		t.Errorf("after the file was corrected: %v", err)
	}
	write("\n")
	for param, says := range map[string]string{
		"&password_file=" + file:                "is empty",
		"&password_file=/no/such":               "/no/such",
		"&password_env=NO_SUCH_VARIABLE":        "NO_SUCH_VARIABLE is not set",
		"&password_env=A&password_file=" + file: "exclude each other",
		"&passphrase_env=A":                     "key=FILE",
	} {
		if _, err := Open(t.Context(), url+param, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want one that says %q", param, err, says)
		}
	}
}

// TestSecondFactor: a server that accepts the key and wants more, or that takes no keys at all, gets another error than one
// that refuses the key: to advise registering a key that is already registered would not help.
func TestSecondFactor(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	may := newKey(t, key).PublicKey()
	no := errors.New("no")
	password := func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		if string(p) != "right" {
			return nil, no
		}
		return nil, nil
	}
	ask := func(questions ...string) func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		return func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", questions, make([]bool, len(questions)))
			if err != nil || len(answers) != len(questions) || len(answers) > 0 && answers[0] != "right" {
				return nil, no
			}
			return nil, nil
		}
	}
	then := func(next ssh.ServerAuthCallbacks) *ssh.ServerConfig {
		return &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			if string(k.Marshal()) != string(may.Marshal()) {
				return nil, no
			}
			return nil, &ssh.PartialSuccessError{Next: next}
		}}
	}
	for name, c := range map[string]struct {
		config   *ssh.ServerConfig
		password string
		says     []string // nothing: it gets in
		not      string
	}{
		"key and password":               {then(ssh.ServerAuthCallbacks{PasswordCallback: password}), "right", nil, ""},
		"key and no question":            {then(ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: ask()}), "", nil, ""},
		"key and asked password":         {then(ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: ask("Password: ")}), "right", nil, ""},
		"key, no password":               {then(ssh.ServerAuthCallbacks{PasswordCallback: password}), "", []string{"accepts publickey", "wants password as well", "password_file="}, "authorized_keys"},
		"key, wrong password":            {then(ssh.ServerAuthCallbacks{PasswordCallback: password}), "wrong", []string{"accepts publickey", "correct the password"}, "authorized_keys"},
		"key and a code":                 {then(ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: ask("Verification code: ")}), "", []string{"accepts publickey", "Verification code: ", "password_file="}, "authorized_keys"},
		"key, password and a code":       {then(ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: ask("Password: ", "Code: ")}), "right", []string{"accepts publickey", `"Code: "`, "AuthenticationMethods"}, "authorized_keys"},
		"password only":                  {&ssh.ServerConfig{PasswordCallback: password}, "", []string{"takes no key", "offers password only", "password_file="}, "authorized_keys"},
		"refused key, password possible": {&ssh.ServerConfig{PasswordCallback: password, PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, no }}, "", []string{"authorized_keys", "it offers", "password_file="}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			url := passwordServer(t, c.config)
			_, err := open(t, url+"&key="+key, &Options{Password: c.password}).Stat(bounded(t), "a")
			if c.says == nil {
				if ship.IsPermanent(err) || !settled(err) {
					t.Error(err)
				}
				return
			}
			wantPermanent(t, err, c.says...)
			if err != nil && c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("error %v speaks of %s", err, c.not)
			}
		})
	}
}
