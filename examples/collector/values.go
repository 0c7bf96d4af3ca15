package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/examples/internal/cli"
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
		return "", fmt.Errorf("use %s", cli.OneOf(format.Names()))
	}
	return s, nil
}
