package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// source returns the current targets. It is called again and again.
type source interface {
	Targets(ctx context.Context) ([]udprelay.Target, error)
}

// errAway marks the error of a source that does not answer at present, as opposed to a mistake in the settings.
var errAway = errors.New("the targets cannot be read at present")

// newSource makes the source for a setting.
func newSource(place string) (source, error) {
	kind, rest, _ := strings.Cut(place, ":")
	switch kind {
	case "file":
		if rest == "" {
			return nil, errors.New("file: names no file")
		}
		return &fileSource{path: rest}, nil
	case "static":
		return newStatic(rest)
	case "dns", "asg":
		name, port, err := net.SplitHostPort(rest)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || n == 0 || name == "" {
			return nil, fmt.Errorf("%s: use %[1]s:NAME:PORT", kind)
		}
		if kind == "asg" {
			return &groupSource{group: name, port: uint16(n)}, nil
		}
		return dnsSource{name, uint16(n)}, nil
	}
	return nil, errors.New("use file:PATH, dns:NAME:PORT, static:HOST:PORT,… or asg:GROUP:PORT")
}

// static is a fixed list of targets.
type static []udprelay.Target

func newStatic(list string) (source, error) {
	targets, err := udprelay.ParseTargets([]byte(strings.ReplaceAll(list, ",", "\n")))
	return static(targets), err
}

// Targets implements source.
func (s static) Targets(context.Context) ([]udprelay.Target, error) { return s, nil }

// fileSource reads targets from a file.
type fileSource struct {
	path string

	mu      sync.Mutex
	info    os.FileInfo // of the last read
	text    []byte
	targets []udprelay.Target // the last good list
}

// maxList limits how much of a file is read. Good lists are shorter.
const maxList = 1 << 20

// Targets implements source. If the contents have changed but the file was not replaced, it may be half written: the new
// contents are used only if the next read returns the same.
func (s *fileSource) Targets(context.Context) ([]udprelay.Target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, text, err := readList(s.path)
	if err != nil {
		return nil, err
	}
	written := s.targets != nil && os.SameFile(s.info, info) && !bytes.Equal(s.text, text)
	s.info, s.text = info, text
	if written {
		return s.targets, nil
	}
	targets, err := udprelay.ParseTargets(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	s.targets = targets
	return targets, nil
}

// readList reads a file. It refuses anything but a regular file, because opening a pipe, for example, waits for a writer.
func readList(path string) (os.FileInfo, []byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err == nil && len(text) > maxList {
		err = fmt.Errorf("%s is longer than 1 MiB", path)
	}
	return info, text, err
}

// dnsSource returns all addresses of a name as targets.
type dnsSource struct {
	name string
	port uint16
}

// Targets implements source.
func (s dnsSource) Targets(ctx context.Context) ([]udprelay.Target, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	var targets []udprelay.Target
	for _, a := range addrs {
		targets = append(targets, udprelay.Target{Addr: netip.AddrPortFrom(a.Unmap(), s.port)})
	}
	return targets, udprelay.CheckTargets(targets)
}
