// Package debs finds programs of Debian packages. It downloads and unpacks missing ones without installing them.
package debs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Program is an installed or unpacked program.
type Program struct {
	Path string
	Root string   // the directory where it is unpacked; empty if it is installed
	Lib  string   // the directory of its libraries there
	Env  []string // environment variables with which it finds them
}

// Find looks for an installed program. If there is none, it downloads the packages and unpacks them below a directory.
func Find(below, name string, packages ...string) (*Program, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		path := filepath.Join(dir, name)
		if _, err := exec.LookPath(path); err == nil {
			return &Program{Path: path}, nil
		}
	}
	top, err := filepath.Abs(below)
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
	p := &Program{Root: root}
	for _, bin := range []string{"usr/sbin", "usr/bin"} {
		if path := filepath.Join(root, bin, name); p.Path == "" {
			if _, err := os.Stat(path); err == nil {
				p.Path = path
			}
		}
	}
	if p.Path == "" {
		return nil, fmt.Errorf("%s is not in %v", name, packages)
	}
	// Libraries are in the directory of their architecture, or in one of the program's own.
	libs, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil || len(libs) == 0 {
		return p, err
	}
	p.Lib = libs[0]
	path := p.Lib + ":" + filepath.Join(root, "lib", filepath.Base(p.Lib)) + ":" + filepath.Join(root, "usr/lib", name)
	p.Env = []string{"LD_LIBRARY_PATH=" + path}
	return p, nil
}
