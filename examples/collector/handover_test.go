package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
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
