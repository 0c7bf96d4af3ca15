package main

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

// perClass is a flag that holds for all classes, or for one as CLASS=value.
type perClass[T any] struct {
	all   T
	only  map[string]T
	parse func(string) (T, error)
}

func newPerClass[T any](all T, parse func(string) (T, error)) perClass[T] {
	return perClass[T]{all: all, only: map[string]T{}, parse: parse}
}

func (p *perClass[T]) String() string { return "" }

func (p *perClass[T]) Set(s string) error {
	class, value, one := strings.Cut(s, "=")
	if !one {
		value = s
	}
	v, err := p.parse(value)
	if err != nil {
		return err
	}
	if one {
		p.only[class] = v
	} else {
		p.all = v
	}
	return nil
}

func (p *perClass[T]) of(class string) T {
	if v, ok := p.only[class]; ok {
		return v
	}
	return p.all
}

var (
	classPattern = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)
	destPattern  = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
)

// multi collects the values of a flag that may be given several times; mistakes are kept, so that all of them are shown.
type multi struct{ add func(string) }

func (m multi) String() string { return "" }

func (m multi) Set(s string) error {
	m.add(s)
	return nil
}

// noted wraps a flag so that its mistakes are collected instead of ending the parse at the first one.
type noted struct {
	flag.Value
	name string
	errs *[]error
}

func (n noted) String() string { return "" } // the usage text says what the default is

func (n noted) Set(s string) error {
	if err := n.Value.Set(s); err != nil {
		*n.errs = append(*n.errs, fmt.Errorf("-%s %q: %w", n.name, s, err))
	}
	return nil
}

// size is a flag.
type size int64

func (s *size) String() string { return "" }

func (s *size) Set(v string) error {
	n, err := parseSize(v)
	*s = size(n)
	return err
}

// duration is a flag.
type duration time.Duration

func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("a time is needed, such as 90s or 10m")
	}
	*d = duration(v)
	return nil
}

// parseSize reads a number of bytes: 1048576, 64KiB, 64MiB, 2GiB, 1TiB.
func parseSize(s string) (int64, error) {
	num, shift := s, 0
	for suffix, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			num, shift = n, by
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)>>shift {
		return 0, errors.New("a positive number of bytes is needed, plain or with KiB, MiB, GiB or TiB")
	}
	return n << shift, nil
}

func parsePositive(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errors.New("a positive time is needed, such as 60s or 5m")
	}
	return d, nil
}

func parseSync(s string) (syncSetting, error) {
	switch s {
	case "always":
		return syncSetting{policy: spool.SyncAlways}, nil
	case "none":
		return syncSetting{policy: spool.SyncNone}, nil
	}
	d, err := parsePositive(s)
	if err != nil {
		return syncSetting{}, errors.New("always, none, or a positive time such as 10ms")
	}
	return syncSetting{spool.SyncInterval, d}, nil
}

func parseCodec(s string) (codecSetting, error) {
	codec, level, err := compress.Parse(s)
	if err != nil {
		return codecSetting{}, err
	}
	return codecSetting{codec.Info().Name, level}, nil
}

func parseFormat(s string) (string, error) {
	switch s {
	case "ndjson", "lines", "native":
		return s, nil
	}
	return "", errors.New("ndjson, lines or native")
}

// signer reads the key that manifests are signed with.
type signer config

func (*signer) String() string { return "" }

func (s *signer) Set(path string) (err error) {
	s.key, err = ship.ReadPrivateKey(path)
	s.keyWarning = ship.KeyExposed(path)
	return err
}
