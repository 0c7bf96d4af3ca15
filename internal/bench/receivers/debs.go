package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// program is a daemon, installed or unpacked.
type program struct {
	path string
	root string   // where it is unpacked; empty if it is installed
	lib  string   // its libraries there
	env  []string // so that it finds them
}

// find looks for an installed program, and else downloads the packages it needs and unpacks them.
func (b *bench) find(name string, packages ...string) (*program, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		path := filepath.Join(dir, name)
		if _, err := exec.LookPath(path); err == nil {
			return &program{path: path}, nil
		}
	}
	top, err := filepath.Abs(b.dir)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(top, "debs-"+name)
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	run := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
		return nil
	}
	if err := run("apt-get", append([]string{"download"}, packages...)...); err != nil {
		return nil, fmt.Errorf("%s is neither installed nor to be had (run apt-get update first?): %w", name, err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	for _, deb := range debs {
		err = errors.Join(err, run("dpkg", "-x", deb, root))
	}
	if err != nil {
		return nil, err
	}
	libs, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil || len(libs) != 1 {
		return nil, fmt.Errorf("%s: no libraries in %s: %w", name, root, err)
	}
	p := &program{path: filepath.Join(root, "usr/sbin", name), root: root, lib: libs[0]}
	path := p.lib + ":" + filepath.Join(root, "lib", filepath.Base(p.lib)) + ":" + filepath.Join(root, "usr/lib", name)
	p.env = []string{"LD_LIBRARY_PATH=" + path}
	return p, nil
}
