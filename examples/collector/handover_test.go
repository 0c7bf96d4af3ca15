package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/drain"
)

// An upgrade that moves the old program aside is an upgrade: the program that now has the name is started.
func TestProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("nothing is handed over there, and programs have other names")
	}
	name := filepath.Join(t.TempDir(), "collector")
	defer func(was string) { os.Args[0] = was }(os.Args[0])
	os.Args[0] = name
	if path, err := program(); err == nil {
		t.Errorf("nothing is there, and %s would be started", path)
	}
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if path, err := program(); err != nil || path != name {
		t.Errorf("%s, %v", path, err)
	}
}

// TestHandOverRefused: a process that is ending starts no successor, since its inputs are closing.
func TestHandOverRefused(t *testing.T) {
	defer func(was string) { os.Args[0] = was }(os.Args[0])
	os.Args[0] = filepath.Join(t.TempDir(), "missing") // so that this test never starts itself
	s := &service{served: new(served)}
	var refused error
	step := drain.Step{Name: "hand over", Run: func(ctx context.Context) error { _, refused = s.handOver(ctx); return nil }}
	var err error
	if s.drainer, err = drain.New(&drain.Options{Dir: t.TempDir(), Before: []drain.Step{step}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.drainer.Stop(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if refused == nil || !strings.Contains(refused.Error(), "is ending") {
		t.Errorf("during the end: %v", refused)
	}
}
