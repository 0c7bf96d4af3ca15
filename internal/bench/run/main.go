// Command run measures the figures of internal/docs/performance.md and writes them on one page.
//
//	cd internal/bench && go run ./run                      # everything: 20 GB of disk, a quiet machine, about an hour
//	cd internal/bench && go run ./run -out /tmp/x.html spool receive
//	cd internal/bench && go run ./run -short               # every contestant once, for two minutes: that they all run
//
// The page is one file. It has every table, plots of the figures that grow, the processor, the kernel, the date and the commit.
// The tables are also printed. A contestant that cannot run, a benchmark that is skipped and a part without any figure are
// failures: the page is still written, and shows the reason instead of the figures.
//
// With -short the times mean nothing: each contestant has one short turn. Ratios and allocations are reported, and nothing is
// judged.
//
// It needs what .ci/run installs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/internal/bench/result"
)

func main() {
	short := flag.Bool("short", false, "one short turn for each, whose times mean nothing")
	out := flag.String("out", filepath.Join(os.TempDir(), "penstock-bench.html"), "the page")
	flag.Usage = usage
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *short, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: run [-short] [-out FILE] [PART]...")
	flag.PrintDefaults()
	fmt.Fprintln(os.Stderr, "parts:")
	for _, p := range parts {
		fmt.Fprintf(os.Stderr, "  %-8s %s\n", p.name, p.title)
	}
}

// section is a part on the page.
type section struct {
	Title  string
	Tables []shown
	Failed []string
}

// shown is a table with its plots.
type shown struct {
	result.Table
	Command string
	Plots   []plotted
}

func run(ctx context.Context, short bool, out string, names []string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	top, err := root()
	if err != nil {
		return err
	}
	p := page{Machine: look(ctx, top), Short: short}
	var failed []error
	for _, part := range chosen {
		fmt.Printf("== %s\n", part.name)
		s := section{Title: part.title}
		for _, c := range part.commands {
			tables, err := c.run(ctx, top, short)
			for _, t := range tables {
				_ = result.NewWriter(os.Stdout, false).Write(t) // if it cannot be printed, it is still on the page
				plots, plotErr := plotsOf(t)
				err = errors.Join(err, plotErr)
				s.Tables = append(s.Tables, shown{t, c.String(short), plots})
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", c.String(short), err)
				failed = append(failed, err)
				s.Failed = append(s.Failed, err.Error())
				fmt.Fprintln(os.Stderr, "run:", err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		p.Sections = append(p.Sections, s)
	}
	p.Machine.ended()
	if err := p.write(out); err != nil {
		return err
	}
	fmt.Println("the page is", out)
	if len(failed) > 0 {
		return fmt.Errorf("%d of the commands failed: see above, or the page", len(failed))
	}
	return nil
}

func choose(names []string) (chosen []part, err error) {
	if len(names) == 0 {
		return parts, nil
	}
	for _, n := range names {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == n })
		if i < 0 {
			var all []string
			for _, p := range parts {
				all = append(all, p.name)
			}
			return nil, fmt.Errorf("there is no part %q: choose from %s", n, strings.Join(all, ", "))
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}

// root returns the top of the repository.
func root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "internal", "bench", "go.mod")); statErr == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("run this inside the repository")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// stamp formats a time for the page.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
