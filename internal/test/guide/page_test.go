package guide

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root  = "../../.."
	pages = root + "/internal/docs/guide"
)

var update = flag.Bool("update", false, "write what the commands print into the pages")

// page is a page with its blocks and remarks in their order.
//
//	```sh run                commands, run as they stand by one shell for the page, in an empty directory. The last one must exit with 0
//	```text                  what the commands before it have printed
//	```yaml collector        a file for collector -config
//	```rsyslog               a file for rsyslogd
//	```nginx                 a file for nginx
//	<!-- run: COMMAND -->    a command that a reader need not see
//	<!-- until: COMMAND -->  is repeated until it succeeds: what a reader waits for
//
// A comment in the line before any other block says why nothing runs it here:
//
//	<!-- in: FILE -->              FILE, which is compiled or tested, contains these lines
//	<!-- test: PACKAGE TestName --> another test runs it
//	<!-- not run: REASON -->
//
// <!-- no tests: REASON --> is for a page without anything to run.
type page struct {
	name, text string
	blocks     []block
	noTests    string
}

type block struct {
	kind       string // "run", "output", "until", "in", "test", "not run", or what a configuration is for
	text, note string
	line       int
	begin, end int // of the text of an output
}

// remark is a comment for the test.
var remark = regexp.MustCompile(`^<!-- (run|until|in|test|not run|no tests): (.*) -->$`)

// checked are the configurations that a program here can check.
var checked = []string{"yaml collector", "rsyslog", "nginx"}

// readPages reads all pages.
func readPages(t *testing.T) (all []*page) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(pages, "*.md"))
	if err != nil || len(names) < 20 {
		t.Fatalf("only %d pages in %s: %v", len(names), pages, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p := &page{name: filepath.Base(name), text: string(text)}
		if err := p.parse(); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
		all = append(all, p)
	}
	return all
}

// parse finds the blocks.
func (p *page) parse() error {
	var open *block // the block whose lines follow
	note := block{} // of the comment in the line before
	n, at := 0, 0
	for l := range strings.Lines(p.text) {
		n, at = n+1, at+len(l)
		line := strings.TrimRight(l, "\n")
		switch {
		case open != nil && line == "```":
			open.end = at - len(l)
			p.blocks, open = append(p.blocks, *open), nil
		case open != nil:
			open.text += l
		case strings.HasPrefix(line, "```"):
			open = &block{line: n, begin: at, note: note.note, kind: cmp.Or(note.kind, p.kindOf(strings.TrimPrefix(line, "```")))}
			if open.kind == "" {
				return fmt.Errorf("line %d: nothing tests this block, and no comment says why", n)
			}
		}
		note = block{}
		if m := remark.FindStringSubmatch(line); m != nil && open == nil {
			switch m[1] {
			case "no tests":
				p.noTests = m[2]
			case "run", "until":
				p.blocks = append(p.blocks, block{kind: m[1], text: m[2] + "\n", line: n})
			default:
				note = block{kind: m[1], note: m[2]}
			}
		}
	}
	if open != nil {
		return fmt.Errorf("line %d: the block does not end", open.line)
	}
	return nil
}

// kindOf is the kind of a block without a comment.
func (p *page) kindOf(info string) string {
	switch {
	case info == "sh run":
		return "run"
	case info == "text" && len(p.blocks) > 0:
		return "output"
	case slices.Contains(checked, info):
		return info
	}
	return ""
}

// TestPages: something is tested on each page, or the page says why not. It lists what is not run, with the reason.
func TestPages(t *testing.T) {
	count := map[string]int{}
	for _, p := range readPages(t) {
		tested := 0
		for _, b := range p.blocks {
			count[b.kind]++
			switch b.kind {
			case "not run":
				t.Logf("%s:%d is not run: %s", p.name, b.line, b.note)
			case "test":
				tested++
				named(t, p, b)
			case "in":
				tested++
				contained(t, p, b)
			default:
				tested++
			}
		}
		if (tested == 0) == (p.noTests == "") {
			t.Errorf("%s: %d blocks are tested, and the reason for none is %q", p.name, tested, p.noTests)
		}
		if n := strings.Count(p.text, "\n"); n > 150 {
			t.Errorf("%s has %d lines", p.name, n)
		}
	}
	t.Logf("%v", count)
}

// named checks that the test exists that runs a block.
func named(t *testing.T, p *page, b block) {
	t.Helper()
	pkg, name, _ := strings.Cut(b.note, " ")
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if src, err := os.ReadFile(f); err == nil && strings.Contains(string(src), "\nfunc "+name+"(") {
			return
		}
	}
	t.Errorf("%s:%d: there is no %s in %s", p.name, b.line, name, pkg)
}

// contained checks that a block is part of the file that it comes from.
func contained(t *testing.T, p *page, b block) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, b.note))
	if err != nil {
		t.Errorf("%s:%d: %v", p.name, b.line, err)
		return
	}
	if !strings.Contains(string(src), b.text) {
		t.Errorf("%s:%d: %s does not contain these lines:\n%s", p.name, b.line, b.note, b.text)
	}
}
