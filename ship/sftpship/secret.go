package sftpship

import (
	"errors"
	"fmt"
	"os"
	"strings"

	secretfile "github.com/penstock-go/penstock/internal/secret"
)

// secret says where a password or a passphrase comes from. It is read again for each connection, so that replacing it
// cures a parked destination without a restart. Its value is never part of a message.
type secret struct {
	file, env string
}

// set reports whether there is a source.
func (s secret) set() bool { return s.file != "" || s.env != "" }

// read returns the secret, or given (an option of the program) if there is no source.
func (s secret) read(what, given string) (string, error) {
	switch {
	case s.file != "":
		b, err := os.ReadFile(s.file)
		if err != nil {
			return "", fmt.Errorf("%s_file: %w", what, err)
		}
		// Editors and `echo` end a file with a line break, which is no part of the secret; spaces may be.
		text := strings.TrimRight(string(b), "\r\n")
		if text == "" {
			return "", fmt.Errorf("%s_file: %s is empty", what, s.file)
		}
		return text, nil
	case s.env != "":
		text := os.Getenv(s.env)
		if text == "" {
			return "", fmt.Errorf("%s_env: the environment variable %s is not set", what, s.env)
		}
		return text, nil
	}
	return given, nil
}

// validate returns the mistake of two sources for one secret.
func (s secret) validate(what string) error {
	if s.file != "" && s.env != "" {
		return fmt.Errorf("%s_file= and %s_env= exclude each other: give one", what, what)
	}
	return nil
}

// exposed names the files with secrets that every account of this machine can read.
func (p place) exposed() (warnings []string) {
	return secretfile.Exposed(p.key, p.password.file, p.passphrase.file)
}

var errNoCredentials = errors.New("nothing to authenticate with: give key=FILE or password_file=FILE, or set SSH_AUTH_SOCK to the socket of an agent")
