package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestShareDescriptors: every listener has its share, the descriptors for spools and destinations are reserved, and too low a
// limit is refused with its cure.
func TestShareDescriptors(t *testing.T) {
	for _, c := range []struct {
		limit, classes, dests int
		conns, http           int // 0 connections: refused
	}{
		{0, 2, 2, maxConns, statusConns},
		{1 << 20, 2, 2, maxConns, statusConns},
		{1024, 2, 2, (1024 - 256 - 64) / 2, 64},
		{128, 2, 1, (128 - 88 - 8) / 2, 8},
		{1024, 20, 3, (1024 - (32 + 20*52)) / 20, 0},
		{64, 1, 1, 0, 0},
	} {
		cfg := &config{dests: map[string]string{}}
		for i := range c.classes {
			name := fmt.Sprint("c", i)
			cfg.classes = append(cfg.classes, name)
			cfg.listen = append(cfg.listen, classURL{name, "tcp://:1"}, classURL{name, "udp://:1"}, classURL{name, "unixgram:///s"})
		}
		for i := range c.dests {
			cfg.dests[fmt.Sprint("d", i)] = "file:///d"
		}
		d, err := shareDescriptors(cfg, c.limit)
		if c.conns <= 0 {
			if !errors.Is(err, errFlags) || !strings.Contains(err.Error(), "LimitNOFILE") {
				t.Errorf("%+v: %+v, %v", c, d, err)
			}
			continue
		}
		if err != nil || d.conns != c.conns || d.http != c.http {
			t.Errorf("%+v: %+v, %v", c, d, err)
		}
	}
}
