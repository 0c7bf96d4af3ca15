package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
)

var (
	classPattern = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)
	destPattern  = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
)

// syncSetting is the value of -sync.
type syncSetting struct {
	policy   spool.SyncPolicy
	interval time.Duration
}

// codecSetting is the value of -codec.
type codecSetting struct {
	name  string
	level int
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
		return 0, errors.New("use a positive number of bytes, plain or with KiB, MiB, GiB or TiB")
	}
	return n << shift, nil
}

func parsePositive(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errors.New("use a positive time such as 60s or 5m")
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
		return syncSetting{}, errors.New("use always, none, or a positive time such as 10ms")
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
	if !slices.Contains(format.Names(), s) {
		return "", fmt.Errorf("use %s", oneOf(format.Names()))
	}
	return s, nil
}

// oneOf is "a, b or c".
func oneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
