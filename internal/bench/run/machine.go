package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine says where and from which commit the figures were measured.
type machine struct {
	Processor, Kernel, Go, Commit string
	Cores                         int
	Began, Ended                  time.Time
	LoadBefore, LoadAfter         string
}

func look(ctx context.Context, top string) machine {
	m := machine{Processor: "unknown", Kernel: runtime.GOOS, Go: runtime.Version() + " " + runtime.GOARCH, Cores: runtime.NumCPU(), Began: time.Now()}
	for _, line := range strings.Split(text("/proc/cpuinfo"), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			m.Processor = strings.TrimSpace(v)
			break
		}
	}
	if k := text("/proc/sys/kernel/osrelease"); k != "" {
		m.Kernel += " " + k
	}
	git := func(args ...string) string {
		out, _ := exec.CommandContext(ctx, "git", append([]string{"-C", top}, args...)...).Output() // outside a checkout there is no commit
		return strings.TrimSpace(string(out))
	}
	m.Commit = git("rev-parse", "--short=12", "HEAD")
	if m.Commit != "" && git("status", "--porcelain") != "" {
		m.Commit += ", changed"
	}
	m.LoadBefore = load()
	return m
}

func (m *machine) ended() { m.Ended, m.LoadAfter = time.Now(), load() }

// Text returns the line below the title.
func (m machine) Text() string {
	return fmt.Sprintf("%s, %d cores, %s, %s; commit %s; %s to %s; load before %s, after %s (a quiet machine has less than 0.1 before)",
		m.Processor, m.Cores, m.Kernel, m.Go, m.Commit, stamp(m.Began), stamp(m.Ended), m.LoadBefore, m.LoadAfter)
}

func load() string {
	first, _, _ := strings.Cut(text("/proc/loadavg"), " ")
	return first
}

func text(file string) string {
	b, _ := os.ReadFile(file) // only Linux has these
	return strings.TrimSpace(string(b))
}
