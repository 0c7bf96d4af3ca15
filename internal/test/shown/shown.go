// Package shown compares the output of a command with the output that a page shows for it. Times, sizes, ids and counts differ
// from run to run, so it compares the shape of each line.
package shown

import (
	"fmt"
	"regexp"
	"strings"
)

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

// Match compares the shape of an output with the output on a page. On the page, … stands for any text in a line, and for any
// number of lines if it is alone.
func Match(page, printed string) error {
	want, have := lines(page), lines(printed)
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
			return fmt.Errorf("no more lines, and the page shows %q", w)
		}
		if !sameShape(w, have[0]) {
			return fmt.Errorf("printed %q\nshown   %q", have[0], w)
		}
		have = have[1:]
	}
	if len(have) > 0 {
		return fmt.Errorf("more than the page shows: %q", have[0])
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
