package sftpship

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// maxLineTries bounds how often a known_hosts file is tried again without the line that was refused.
const maxLineTries = 100

// readableLines reads known_hosts as OpenSSH does: a line that cannot be read affects only the host that the line is about,
// while x/crypto/ssh refuses the whole file. The check is still that of x/crypto/ssh, never one of our own: it gets the
// lines that it can read in another file, at the same line numbers. skipped describes the others.
//
// A @revoked line is no exception: OpenSSH cannot compare a key with what it cannot read either.
func (p place) readableLines(lines [][]byte) (check ssh.HostKeyCallback, skipped []string, err error) {
	kept := make([][]byte, len(lines))
	left := 0 // lines about a host
	drop := func(i int, why error) {
		kept[i] = nil
		skipped = append(skipped, fmt.Sprintf("known_hosts: line %d of %s is skipped: %v", i+1, p.knownHosts, why))
	}
	for i, line := range lines {
		kept[i] = line
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		_, _, _, _, _, err := ssh.ParseKnownHosts(line)
		if err == nil && len(line) >= bufio.MaxScanTokenSize {
			err = bufio.ErrTooLong // which the package could not read
		}
		if err != nil {
			drop(i, err)
		} else {
			left++
		}
	}
	f, err := os.CreateTemp("", "penstock-known-hosts-")
	if err != nil {
		return nil, nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	for range maxLineTries {
		if left <= 0 {
			return nil, nil, fmt.Errorf("no line of %s can be read: %s", p.knownHosts, skipped[0])
		}
		if err := errors.Join(f.Truncate(0), writeAt(f, bytes.Join(kept, []byte("\n")))); err != nil {
			return nil, nil, err
		}
		check, err := knownhosts.New(f.Name())
		if err == nil {
			return check, skipped, nil
		}
		// Lines that only the package refuses, such as a damaged hash of a host, are found by the number in its message.
		i, why, ok := refusedLine(err, f.Name())
		if !ok || i >= len(kept) || kept[i] == nil {
			return nil, nil, err
		}
		drop(i, why)
		left--
	}
	return nil, nil, fmt.Errorf("%s: more than %d lines cannot be read", p.knownHosts, maxLineTries)
}

func writeAt(f *os.File, b []byte) error {
	_, err := f.WriteAt(b, 0)
	return err
}

// refusedLine parses index and reason from "knownhosts: FILE:LINE: REASON".
func refusedLine(err error, file string) (index int, why error, ok bool) {
	rest, ok := bytes.CutPrefix([]byte(err.Error()), []byte("knownhosts: "+file+":"))
	if !ok {
		return 0, nil, false
	}
	number, reason, ok := bytes.Cut(rest, []byte(": "))
	if n, serr := fmt.Sscanf(string(number), "%d", &index); !ok || serr != nil || n != 1 || index < 1 {
		return 0, nil, false
	}
	return index - 1, errors.New(string(reason)), true
}
