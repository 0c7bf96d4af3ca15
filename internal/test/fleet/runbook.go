//go:build linux

package fleet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// runbookFile is the text whose commands are run.
const runbookFile = "../../../examples/deploy/README.md"

// block is a fenced block of a procedure, or a remark for the stage.
//
//	```sh run            commands that are run as they stand
//	```text              what the commands before it have printed
//	```sh cloud=EVENT    commands that need a cloud: the stage does what EVENT names. Without an event nothing happens here
//	<!-- stage: EVENT -->  what happens without a command, such as a cable that is cut
type block struct {
	kind, event string
	text        string
	line        int
	begin, end  int // of text in the file
}

// fence finds the blocks.
var fence = regexp.MustCompile("(?ms)^```([a-z]*)(?: (run|cloud)(?:=([a-z-]+))?)?\n(.*?)^```$|^<!-- stage: ([a-z-]+) -->$")

// procedures reads the blocks of each procedure, by its heading.
func procedures(text string) (headings []string, blocks map[string][]block, err error) {
	blocks = map[string][]block{}
	begin := strings.Index(text, "\n## Procedures\n")
	end := strings.Index(text[begin+1:], "\n## ")
	if begin < 0 || end < 0 {
		return nil, nil, fmt.Errorf("%s has no section Procedures", runbookFile)
	}
	end += begin + 1
	for _, h := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatchIndex(text[:end], -1) {
		if h[0] < begin {
			continue
		}
		name := text[h[2]:h[3]]
		headings = append(headings, name)
		stop := end
		if next := strings.Index(text[h[1]:end], "\n### "); next >= 0 {
			stop = h[1] + next
		}
		for _, m := range fence.FindAllStringSubmatchIndex(text[h[1]:stop], -1) {
			part := func(i int) string {
				if m[2*i] < 0 {
					return ""
				}
				return text[h[1]+m[2*i] : h[1]+m[2*i+1]]
			}
			b := block{kind: part(2), event: part(3), text: part(4), line: 1 + strings.Count(text[:h[1]+m[0]], "\n")}
			switch {
			case part(5) != "":
				b.kind, b.event = "stage", part(5)
			case b.kind == "" && part(1) == "text":
				b.kind = "output"
			case b.kind == "":
				return nil, nil, fmt.Errorf("line %d: a block that is neither run nor cloud nor text", b.line)
			}
			if m[8] >= 0 {
				b.begin, b.end = h[1]+m[8], h[1]+m[9]
			}
			blocks[name] = append(blocks[name], b)
		}
	}
	return headings, blocks, nil
}

// What differs from run to run, in the order in which it is replaced.
var wildcards = []struct{ find, put string }{
	{`\d{4}-\d\d-\d\dT[\d:.]+Z`, "TIME"},
	{`\b[0-9a-hjkmnp-tv-z]{26}\b`, "SPOOL"},
	{`\bi-[0-9a-f]{8,17}\b`, "INSTANCE"},
	{`\b[0-9a-f]{16}\b`, "N"},
	{`/tmp/tmp\.\w+`, "WORK"},
	{`\b\d+[\d,.]* ?(B|kB|MB|GB|KiB|MiB|GiB)\b`, "SIZE"},
	{`\b\d+(\.\d+)?(ms|µs|s|m|h|d)( ?\d+(\.\d+)?(ms|s|m|h))*\b`, "DURATION"},
	{`\b(record|object|segment|file|warning|error|finding)s\b`, "$1"},
	{`\d+[\d,.]*`, "N"},
	{`[ \t]+`, " "},
}

var wildcard = func() (all []*regexp.Regexp) {
	for _, w := range wildcards {
		all = append(all, regexp.MustCompile(w.find))
	}
	return all
}()

// shape replaces what differs from run to run.
func shape(line string) string {
	for i, w := range wildcard {
		line = w.ReplaceAllString(line, wildcards[i].put)
	}
	return strings.TrimSpace(line)
}

// matches compares the shape of an output with the one that the runbook shows. There, … stands for anything in a line, and for any
// number of lines if it is alone.
func matches(shown, printed string) error {
	want, have := lines(shown), lines(printed)
	for i, w := range want {
		if w == "…" {
			if i == len(want)-1 {
				return nil
			}
			for len(have) > 0 && !sameShape(want[i+1], have[0]) {
				have = have[1:]
			}
			continue
		}
		if len(have) == 0 {
			return fmt.Errorf("no more lines, and the runbook has %q", w)
		}
		if !sameShape(w, have[0]) {
			return fmt.Errorf("printed %q\nrunbook %q", have[0], w)
		}
		have = have[1:]
	}
	if len(have) > 0 {
		return fmt.Errorf("more than the runbook shows: %q", have[0])
	}
	return nil
}

func sameShape(want, have string) bool {
	parts := strings.Split(want, "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(shape(p))
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(shape(have))
}

// lines are those with text.
func lines(s string) (all []string) {
	for l := range strings.Lines(s) {
		if l = strings.TrimSpace(l); l != "" {
			all = append(all, l)
		}
	}
	return all
}

// script runs commands on a machine as an operator's shell does. Variables that they export are there for the next ones.
func (k *book) script(commands string) (string, error) {
	full := "[ ! -e $RUNBOOK_ENV ] || . $RUNBOOK_ENV\ntrap 'export -p >$RUNBOOK_ENV' EXIT\n"
	for name, value := range k.vars {
		full += "export " + name + "='" + value + "'\n"
	}
	cmd := exec.Command("bash", "-c", full+commands)
	var out bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = k.environ(), k.dir, &out, &out
	cmd.WaitDelay = time.Second // a program in the background may hold the output
	if err := k.ops.StartAs("ops", cmd); err != nil {
		return "", err
	}
	hang := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer hang.Stop()
	err := cmd.Wait()
	return out.String(), err
}

// environ is the environment of an operator, with credentials for both destinations.
func (k *book) environ() []string {
	return append([]string{"PATH=" + k.bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + k.dir, "RUNBOOK_ENV=" + k.dir + "/.env", "LC_ALL=C.UTF-8"}, k.bucket.env...)
}
