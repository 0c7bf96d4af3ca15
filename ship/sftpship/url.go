package sftpship

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hop is an SSH server and the account there.
type hop struct {
	user string
	addr string // host:port
}

// place is what a URL names: a directory on a server, and how to connect to it.
type place struct {
	hop
	jump       *hop   // bastion, nil: none
	dir        string // as sent to the server: absolute, or relative to the account's start directory
	key        string // private key file; empty: agent
	cert       string // certificate for the key
	password   secret
	passphrase secret
	knownHosts string
}

// location returns a URL of the place, without secrets, that is the same however the place was written.
func (p place) location() string {
	u := url.URL{Scheme: "sftp", User: url.User(p.user), Host: p.addr, Path: p.dir}
	switch {
	case p.dir == ".":
		u.Path = "/~/"
	case !path.IsAbs(p.dir):
		u.Path = "/~/" + p.dir
	}
	return u.String()
}

// parse reads a URL into a place and into the options that it may set. It returns all mistakes, joined.
func parse(raw string, o *Options) (place, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error of url.Parse repeats the URL, and with it a password.
		return place{}, errors.New("not a URL: give sftp://USER@HOST:PORT/DIR?key=FILE&known_hosts=FILE")
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	var p place
	if u.Scheme != "sftp" || u.Opaque != "" {
		bad("scheme %q: give sftp://USER@HOST:PORT/DIR", u.Scheme)
	}
	if _, ok := u.User.Password(); ok {
		bad("a password in the URL would end up in logs and in the list of processes: use key=FILE, the agent, password_file=FILE or password_env=NAME")
	}
	p.hop, err = parseHop(u)
	if err != nil {
		errs = append(errs, err)
	}

	// Cleaned here and not on the server, so that one place has one Location. (path.Clean drops ".." and the name
	// before it, which is wrong after a symbolic link: write such a path without "..".)
	switch dir := u.Path; {
	case dir == "":
		bad("no directory: give /DIR on the server, / for its root, /~/DIR below the account's home")
	case strings.ContainsAny(dir, "\x00\n\r"):
		bad("directory %q: control characters", dir)
	case dir == "/~", strings.HasPrefix(dir, "/~/"):
		p.dir = path.Clean("/" + strings.TrimPrefix(dir, "/~"))[1:]
		if p.dir == "" {
			p.dir = "."
		}
	default:
		p.dir = path.Clean(dir)
	}
	if u.Fragment != "" {
		bad("a # begins a fragment, which means nothing here: write %%23 for a # in the directory")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		bad("parameters: %v", err)
	}
	errs = append(errs, p.parameters(q, o)...)
	return p, errors.Join(errs...)
}

// parseHop reads user, host and port of a URL. It returns all mistakes, joined.
func parseHop(u *url.URL) (hop, error) {
	var errs []error
	if u.User.Username() == "" {
		errs = append(errs, errors.New("no user: give USER@HOST"))
	}
	if u.Hostname() == "" {
		errs = append(errs, errors.New("no host: give USER@HOST"))
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		errs = append(errs, fmt.Errorf("port %q: give 1 to 65535", port))
	}
	return hop{u.User.Username(), net.JoinHostPort(strings.ToLower(u.Hostname()), port)}, errors.Join(errs...)
}

// parameters reads the query of a URL.
func (p *place) parameters(q url.Values, o *Options) (errs []error) {
	// Unknown names are refused: otherwise a misspelt known_hosts would count as missing, and a misspelt verify as
	// the default.
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names) // the same mistakes in the same order each time
	for _, name := range names {
		if len(q[name]) != 1 {
			errs = append(errs, fmt.Errorf("%s is given %d times", name, len(q[name])))
			continue
		}
		value, err := q[name][0], error(nil)
		switch name {
		case "key":
			p.key = value
		case "cert":
			p.cert = value
		case "password_file":
			p.password.file = value
		case "password_env":
			p.password.env = value
		case "passphrase_file":
			p.passphrase.file = value
		case "passphrase_env":
			p.passphrase.env = value
		case "known_hosts":
			p.knownHosts = value
		case "jump":
			p.jump, err = parseJump(value)
		case "verify":
			o.Verify = Verify(value)
		case "workers":
			if o.Workers, err = strconv.Atoi(value); err != nil {
				err = fmt.Errorf("workers=%q: give 1 to 64", value)
			}
		case "stall_timeout":
			if o.StallTimeout, err = time.ParseDuration(value); err != nil {
				err = fmt.Errorf("stall_timeout=%q: give a duration such as 30s", value)
			}
			// Otherwise a longer stall_timeout would be refused because of an AnswerTimeout that nobody has set.
			o.AnswerTimeout = max(o.AnswerTimeout, 10*o.StallTimeout)
		default:
			err = fmt.Errorf("unknown parameter %q: there are key, cert, password_file, password_env, passphrase_file, passphrase_env, known_hosts, jump, verify, workers, stall_timeout", name)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if p.cert != "" && p.key == "" {
		errs = append(errs, errors.New("cert= goes with key=FILE: an agent has its certificates itself"))
	}
	errs = append(errs, p.password.validate("password"), p.passphrase.validate("passphrase"))
	if p.passphrase.set() && p.key == "" {
		errs = append(errs, errors.New("passphrase_file= and passphrase_env= go with key=FILE"))
	}
	if p.knownHosts == "" {
		errs = append(errs, fmt.Errorf("no known_hosts=FILE: host keys are always verified; make one by `%s > FILE` and compare it with the server's keys", p.keyscan()))
	}
	return errs
}

// parseJump reads USER@HOST[:PORT].
func parseJump(value string) (*hop, error) {
	u, err := url.Parse("ssh://" + value)
	if err != nil {
		return nil, errors.New("jump: give USER@HOST:PORT")
	}
	if _, ok := u.User.Password(); ok || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("jump: give USER@HOST:PORT and nothing else")
	}
	h, err := parseHop(u)
	if err != nil {
		return nil, fmt.Errorf("jump: %w", err)
	}
	return &h, nil
}

// keyscan is the command that fetches the server's host keys, for messages.
func (h hop) keyscan() string {
	host, port, err := net.SplitHostPort(h.addr)
	if err != nil || port == "22" {
		return "ssh-keyscan " + host
	}
	return "ssh-keyscan -p " + port + " " + host
}
