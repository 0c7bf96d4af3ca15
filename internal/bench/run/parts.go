package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/internal/bench/result"
)

// part is a chapter of performance.md.
type part struct {
	name, title string
	commands    []command
}

// command produces tables: it is a program of this module, or the benchmarks of a package.
type command struct {
	program string // of this module; if empty, the benchmarks of pkg
	pkg     string // relative to the repository
	bench   string
	long    []string // additional arguments; short has those of the short form
	short   []string
}

// bench returns a command for benchmarks. A second for each is enough to compare; the short form runs each body ten times.
func bench(pkg, pattern string, long ...string) command {
	return command{pkg: pkg, bench: pattern, long: long, short: []string{"-benchtime=10x"}}
}

// once returns a command for benchmarks with a long body, which the short form runs once.
func once(pkg, pattern string, long ...string) command {
	return command{pkg: pkg, bench: pattern, long: long, short: []string{"-benchtime=1x"}}
}

var parts = []part{
	{"spool", "Durable appends, beside other logs for Go and the raw disk", []command{
		{program: "peers", short: []string{"-rounds=1", "-burst=20ms", "-sizes=512", "-writers=1,8,32", "-warm=1"}},
		once("./spool", "Offer|Open"),
		bench("./spool/segment", "."),
		bench("./spool/internal/index", "."),
	}},
	{"receive", "From the socket to the disk, beside rsyslog, syslog-ng and a raw socket", []command{
		{program: "receivers", short: []string{"-rounds=1", "-length=200ms", "-cpu-rate=20000", "-tcp=8", "-search=false"}},
		bench("./ingest", "UDP|TCP|Framers|Transform|Route|Proxy"),
		bench("./ingest/relp", "."),
		bench("./ingest/lumberjack", "."),
	}},
	{"ship", "To S3 and over SFTP, beside the bare manager, rclone, aws and OpenSSH's client", []command{
		once("./internal/bench/uploads", "S3", "-benchtime=5x"),
		once("./ship/sftpship", "Upload", "-benchtime=5x"),
	}},
	{"stage", "Staging, beside the bare encoder", []command{
		bench("./ship", "."),
		bench("./ship/format", "."),
		bench("./compress", "."),
	}},
	{"audit", "Audits", []command{
		once("./ship/audit", "Directory|SFTP|S3|Copies"),
	}},
	{"growth", "How cost grows", []command{
		once("./spool", "Segments$", "-benchtime=1x"),
		once("./ship", "Segments$", "-benchtime=1x"),
		once("./ingest", "Connections|Sources", "-benchtime=1x"),
		once("./drain/monitor", "Classes", "-benchtime=1x"),
		once("./ship/s3ship", "Object", "-benchtime=3x"),
		once("./ship/sftpship", "Object", "-benchtime=3x"),
		once("./ship/audit", "Objects", "-benchtime=1x"),
	}},
	{"status", "What it costs to be seen", []command{
		once("./drain/monitor", "Scrape"),
		once("./drain/status", "."),
		bench("./internal/hist", "."),
	}},
}

// String returns the command as typed at the top of the repository.
func (c command) String(short bool) string {
	dir, args := c.args(short)
	s := "go"
	for _, a := range args {
		if strings.ContainsAny(a, "|^$*") {
			a = "'" + a + "'"
		}
		s += " " + a
	}
	if dir != "." {
		s = "cd " + dir + " && " + s
	}
	return s
}

// args returns the arguments of go, and its working directory relative to the top of the repository.
func (c command) args(short bool) (dir string, args []string) {
	more := c.long
	if short {
		more = c.short
	}
	if c.program != "" {
		return "internal/bench", append([]string{"run", "./" + c.program}, more...)
	}
	dir, pkg := ".", c.pkg
	if rest, ok := strings.CutPrefix(pkg, "./internal/bench/"); ok { // a separate module
		dir, pkg = "internal/bench", "./"+rest
	}
	return dir, append([]string{"test", "-vet=off", "-run", "^$", "-bench", c.bench, "-benchmem", "-timeout", "60m", pkg}, more...)
}

// run runs the command and returns its tables. Its standard error is ours. Tables printed before an error are returned with it.
func (c command) run(ctx context.Context, top string, short bool) ([]result.Table, error) {
	dir, args := c.args(short)
	if c.program != "" {
		args = append(args, "-json")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(top, dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // its children end with it
	// With CI=true, a benchmark whose real server is missing fails.
	cmd.Env = append(os.Environ(), "CI=true")
	if short {
		cmd.Env = append(cmd.Env, "PENSTOCK_BENCH_SHORT=1", "PENSTOCK_GROWTH=100")
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	var tables []result.Table
	var parseErr error
	if c.program != "" {
		tables, parseErr = result.Read(&out)
	} else {
		if err != nil {
			os.Stderr.Write(out.Bytes())
		}
		tables, parseErr = goBench(c.pkg, out.Bytes())
	}
	if err = errors.Join(err, parseErr); err == nil && !slices.ContainsFunc(tables, func(t result.Table) bool { return len(t.Rows) > 0 }) {
		err = errors.New("gave no figure")
	}
	if err != nil {
		return tables, fmt.Errorf("failed: %w", err)
	}
	return tables, nil
}
