//go:build linux

package fleet

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/shown"
)

var updateRunbook = flag.Bool("fleet.runbook", false, "write what the commands of the runbook print into it")

// TestRunbook runs the commands of every procedure of the runbook as they stand, on a small stage, and compares what they print
// with what the runbook shows.
func TestRunbook(t *testing.T) {
	if !inside(t) {
		return
	}
	file, err := os.ReadFile(runbookFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(file)
	headings, blocks, err := procedures(text)
	if err != nil {
		t.Fatal(err)
	}
	rules := unscaled.by(40)
	rules.Drain = 12 * time.Second
	s, err := newStage(Setup{Rules: rules, HashSeed: 7, Line: "200mbit", VolumeBytes: 1 << 30, Spool: smallSegments, Logf: t.Logf})
	t.Cleanup(s.Close)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newBook(s)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := k.launch(); err != nil {
			t.Fatal(err)
		}
	}
	var printed []edit
	for _, h := range headings {
		t.Logf("%6.1f s %s", time.Since(s.began).Seconds(), h)
		edits, ok := k.play(t, blocks[h])
		printed = append(printed, edits...)
		if !ok {
			break // what follows relies on it
		}
	}
	if *updateRunbook {
		for i := len(printed) - 1; i >= 0; i-- {
			text = text[:printed[i].begin] + printed[i].text + text[printed[i].end:]
		}
		if err := os.WriteFile(runbookFile, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// edit is an output for the runbook.
type edit struct {
	begin, end int
	text       string
}

// play runs the blocks of one procedure.
func (k *book) play(t *testing.T, blocks []block) (printed []edit, ok bool) {
	t.Helper()
	if err := k.next(); err != nil {
		t.Error(err)
		return nil, false
	}
	last, ran := "", 0
	for _, b := range blocks {
		switch b.kind {
		case "cloud", "stage":
			event := events[b.event]
			if event == nil {
				if b.event != "" {
					t.Errorf("line %d: the stage has no event %q", b.line, b.event)
				}
				continue
			}
			begin := time.Now()
			if err := event(k); err != nil {
				t.Errorf("line %d: %s: %v", b.line, b.event, err)
				return printed, false
			}
			t.Logf("         %s: %.1f s", b.event, time.Since(begin).Seconds())
		case "run":
			out, err := k.script(b.text)
			if err != nil {
				t.Errorf("line %d: %v\n%s%s", b.line, err, b.text, out)
				return printed, false
			}
			last = out
			ran++
		case "output":
			if err := shown.Match(b.text, last); err != nil {
				t.Errorf("line %d: %v\n%s", b.line, err, last)
				printed = append(printed, edit{b.begin, b.end, strings.TrimLeft(last, "\n")})
			}
		}
	}
	if ran == 0 {
		t.Errorf("line %d: a procedure of which nothing is run", blocks[0].line)
	}
	return printed, true
}
