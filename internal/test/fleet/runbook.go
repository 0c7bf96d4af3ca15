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
