package guide

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/shell"
	"github.com/penstock-go/penstock/internal/test/shown"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

// here is the directory that pages show where the test has another one.
const here = "/tmp/penstock"

// stage is where the commands of one page run.
type stage struct {
	dir, outputs string
	// addr stands for 127.0.0.1: no two pages, and no two runs of this test, meet at a port.
	addr string
}

// TestCommands runs the commands of every page in their order, and compares what they print with what the page shows.
func TestCommands(t *testing.T) {
	build(t)
	for i, p := range readPages(t) {
		if !slices.ContainsFunc(p.blocks, func(b block) bool { return b.kind == "run" }) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			pid := os.Getpid()
			s := &stage{dir: testserver.PlainDir(t), outputs: t.TempDir(), addr: fmt.Sprintf("127.%d.%d.%d", 1+pid>>8&0x7f, pid&0xff, 1+i)}
			s.run(t, p)
		})
	}
}

// script is the commands of a page. The output of each block is in a file of its own.
func (s *stage) script(p *page) string {
	var script strings.Builder
	for i, b := range p.blocks {
		switch b.kind {
		case "run":
			fmt.Fprintf(&script, "exec >%s 2>&1\n%s\nrc=$?; [ $rc = 0 ] || { echo \"exit code $rc\"; exit 100; }\n", shell.Quote(s.output(i)), b.text)
		case "until":
			fmt.Fprintf(&script, "exec >%s 2>&1\nuntil %s\ndo sleep 0.05; done\n", shell.Quote(s.output(i)), strings.TrimSpace(b.text))
		}
	}
	// Nothing may write to the directory any more when the test removes it.
	script.WriteString("exec >/dev/null 2>&1\nkill -KILL $(jobs -p)\nwait\n")
	return script.String()
}

// run runs a page.
func (s *stage) run(t *testing.T, p *page) {
	script := s.script(p)
	for _, tool := range []string{"curl", "openssl"} {
		if strings.Contains(script, tool+" ") {
			testserver.Find(t, tool, tool)
		}
	}
	if err := s.bash(t, script); err != nil {
		for i, b := range p.blocks { // the last one that has begun is the one that failed
			if out, err := os.ReadFile(s.output(i)); err == nil {
				t.Logf("%s:%d\n%s%s", p.name, b.line, b.text, out)
			}
		}
		t.Fatalf("%s: %v", p.name, err)
	}
	s.compare(t, p)
}

// output is the file with what block i has printed.
func (s *stage) output(i int) string { return filepath.Join(s.outputs, strconv.Itoa(i)) }

// bash runs a script, and ends everything that it has started.
func (s *stage) bash(t *testing.T, script string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // seconds, unless the machine is starved
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", strings.ReplaceAll(script, "127.0.0.1", s.addr))
	cmd.Dir = s.dir
	// Independent of the machine: no platform may end the collector, and the user's own settings do not apply.
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + s.dir, "LC_ALL=C.UTF-8", "PENSTOCK_LIFECYCLE=none", "NO_COLOR=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what still runs in the background
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, &out)
	}
	return nil
}

var (
	// exact are the numbers that are the same in each run.
	exact = regexp.MustCompile(`exit \d+|lost \d+|pending \d+|"(missing|duplicate|altered)":\d+|_total\{[^}]*\} \d+`)
	// ours are the lines that a reader does not see, because only this test sets the variable.
	ours = regexp.MustCompile(`(?m)^.*PENSTOCK_LIFECYCLE.*\n`)
)

// compare compares the outputs that the page shows with what the commands before them have printed.
func (s *stage) compare(t *testing.T, p *page) {
	last, text, moved := "", p.text, 0
	names := strings.NewReplacer(s.dir, here, s.addr, "127.0.0.1")
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host := regexp.MustCompile(`\b` + regexp.QuoteMeta(hostname) + `\b`)
	for i, b := range p.blocks {
		switch b.kind {
		case "run":
			out, err := os.ReadFile(s.output(i))
			if err != nil {
				t.Fatal(err)
			}
			last = ours.ReplaceAllString(host.ReplaceAllString(names.Replace(string(out)), "host-1"), "")
		case "output":
			err := shown.Match(b.text, last)
			if want, have := exact.FindAllString(b.text, -1), exact.FindAllString(last, -1); err == nil && len(want) > 0 && !slices.Equal(want, have) {
				err = fmt.Errorf("printed %q\nshown   %q", have, want)
			}
			if err == nil {
				continue
			}
			if !*update {
				t.Errorf("%s:%d: %v\n%s", p.name, b.line, err, last)
				continue
			}
			text = text[:b.begin+moved] + last + text[b.end+moved:]
			moved += len(last) - len(b.text)
		}
	}
	if *update && text != p.text {
		if err := os.WriteFile(filepath.Join(pages, p.name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
